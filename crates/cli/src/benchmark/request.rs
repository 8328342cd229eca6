//! What is sent: the tests of the default suite, and requests with places that change every time.

use shoal_protocol::value::encode_request;

/// Replaced by a random number of as many digits.
const RANDOM_PLACEHOLDER: &[u8] = b"__rand_int__";
/// In cluster mode, replaced by a hash tag of a slot of the node.
const TAG_PLACEHOLDER: &[u8] = b"{tag}";

/// One test of the default suite.
pub(super) struct Test {
    pub title: &'static str,
    /// The names of `-t` that select it.
    names: &'static [&'static str],
    /// The command; `TAG` stands for the cluster's tag, `DATA` for the payload, `SCORE` for a score.
    command: &'static str,
}

const fn test(title: &'static str, names: &'static [&'static str], command: &'static str) -> Test {
    Test { title, names, command }
}

/// The default suite, in its order. The first test is sent as an inline command.
pub(super) const SUITE: &[Test] = &[
    test("PING_INLINE", &["ping_inline", "ping"], ""),
    test("PING_MBULK", &["ping_mbulk", "ping"], "PING"),
    test("SET", &["set"], "SET keyTAG:__rand_int__ DATA"),
    test("GET", &["get"], "GET keyTAG:__rand_int__"),
    test("INCR", &["incr"], "INCR counterTAG:__rand_int__"),
    test("LPUSH", &["lpush"], "LPUSH mylistTAG DATA"),
    test("RPUSH", &["rpush"], "RPUSH mylistTAG DATA"),
    test("LPOP", &["lpop"], "LPOP mylistTAG"),
    test("RPOP", &["rpop"], "RPOP mylistTAG"),
    test("SADD", &["sadd"], "SADD mysetTAG element:__rand_int__"),
    test("HSET", &["hset"], "HSET myhashTAG element:__rand_int__ DATA"),
    test("SPOP", &["spop"], "SPOP mysetTAG"),
    test("ZADD", &["zadd"], "ZADD myzsetTAG SCORE element:__rand_int__"),
    test("ZPOPMIN", &["zpopmin"], "ZPOPMIN myzsetTAG"),
    test(
        "LPUSH (needed to benchmark LRANGE)",
        &["lrange", "lrange_100", "lrange_300", "lrange_500", "lrange_600"],
        "LPUSH mylistTAG DATA",
    ),
    test("LRANGE_100 (first 100 elements)", &["lrange", "lrange_100"], "LRANGE mylistTAG 0 99"),
    test("LRANGE_300 (first 300 elements)", &["lrange", "lrange_300"], "LRANGE mylistTAG 0 299"),
    test("LRANGE_500 (first 500 elements)", &["lrange", "lrange_500"], "LRANGE mylistTAG 0 499"),
    test("LRANGE_600 (first 600 elements)", &["lrange", "lrange_600"], "LRANGE mylistTAG 0 599"),
    test(
        "MSET (10 keys)",
        &["mset"],
        "MSET keyTAG:__rand_int__ DATA keyTAG:__rand_int__ DATA keyTAG:__rand_int__ DATA keyTAG:__rand_int__ DATA \
         keyTAG:__rand_int__ DATA keyTAG:__rand_int__ DATA keyTAG:__rand_int__ DATA keyTAG:__rand_int__ DATA \
         keyTAG:__rand_int__ DATA keyTAG:__rand_int__ DATA",
    ),
];

impl Test {
    /// Whether `-t` selects it; without `-t` everything is selected. The names are in lower case.
    pub(super) fn is_selected(&self, names: Option<&[String]>) -> bool {
        names.is_none_or(|names| self.names.iter().any(|name| names.iter().any(|other| other == name)))
    }

    /// The request in bytes.
    pub(super) fn request(&self, data: &[u8], in_cluster: bool, random_keys: bool) -> Vec<u8> {
        if self.command.is_empty() {
            return b"PING\r\n".to_vec();
        }
        let words: Vec<Vec<u8>> = self
            .command
            .split(' ')
            .map(|word| match word {
                "DATA" => data.to_vec(),
                "SCORE" => if random_keys { RANDOM_PLACEHOLDER } else { b"0".as_slice() }.to_vec(),
                word => word.replace("TAG", if in_cluster { ":{tag}" } else { "" }).into_bytes(),
            })
            .collect();
        let mut request = Vec::new();
        encode_request(&words, &mut request);
        request
    }
}

/// A batch of requests and the places in it that change.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// What a new connection sends first, with how many replies: AUTH, SELECT and the like.
    pub prefix: Vec<u8>,
    pub prefix_replies: u32,
    /// The pipeline.
    pub body: Vec<u8>,
    /// Where in the body random numbers stand.
    random_offsets: Vec<usize>,
    /// Where in the body the three bytes of hash tags stand.
    tag_offsets: Vec<usize>,
}

impl Template {
    /// `pipeline` times the request.
    pub(super) fn new(request: &[u8], pipeline: u32, random_keys: bool, in_cluster: bool) -> Self {
        let body = request.repeat(pipeline as usize);
        let find = |wanted: bool, placeholder: &[u8]| {
            if wanted { memchr::memmem::find_iter(&body, placeholder).collect() } else { Vec::new() }
        };
        let random_offsets = find(random_keys, RANDOM_PLACEHOLDER);
        let tag_offsets: Vec<usize> =
            find(in_cluster, TAG_PLACEHOLDER).iter().map(|offset| offset + 1).collect();
        Self { prefix: Vec::new(), prefix_replies: 0, body, random_offsets, tag_offsets }
    }

    /// Adds a command to what a new connection sends first.
    pub(super) fn push_prefix(&mut self, words: &[&[u8]]) {
        encode_request(words, &mut self.prefix);
        self.prefix_replies += 1;
    }

    /// Whether requests name a slot.
    pub(super) fn has_tags(&self) -> bool {
        !self.tag_offsets.is_empty()
    }

    /// Puts new random numbers from 0 to below `key_count` into a copy of the body.
    pub(super) fn randomize(&self, body: &mut [u8], key_count: u64, random: &mut fastrand::Rng) {
        for &offset in &self.random_offsets {
            let mut number = if key_count == 0 { 0 } else { random.u64(..key_count) };
            for digit in body[offset..offset + RANDOM_PLACEHOLDER.len()].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }

    /// Puts a hash tag into a copy of the body.
    pub(super) fn set_tag(&self, body: &mut [u8], tag: [u8; 3]) {
        for &offset in &self.tag_offsets {
            body[offset..offset + tag.len()].copy_from_slice(&tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(title: &str) -> &'static Test {
        SUITE.iter().find(|test| test.title == title).unwrap()
    }

    #[test]
    fn names_select_tests() {
        let names = ["ping".to_owned(), "lrange_300".to_owned()];
        let selected: Vec<_> =
            SUITE.iter().filter(|test| test.is_selected(Some(&names))).map(|test| test.title).collect();
        assert_eq!(
            selected,
            [
                "PING_INLINE",
                "PING_MBULK",
                "LPUSH (needed to benchmark LRANGE)",
                "LRANGE_300 (first 300 elements)"
            ]
        );
        assert!(SUITE.iter().all(|test| test.is_selected(None)));
    }

    #[test]
    fn places_are_filled_in() {
        let request = find("SET").request(b"xyz", true, true);
        let template = Template::new(&request, 2, true, true);
        let mut body = template.body.clone();
        template.randomize(&mut body, 1, &mut fastrand::Rng::with_seed(1));
        template.set_tag(&mut body, *b"abc");
        let one = b"*3\r\n$3\r\nSET\r\n$22\r\nkey:{abc}:000000000000\r\n$3\r\nxyz\r\n";
        assert_eq!(body, one.repeat(2));
        let mut body = template.body.clone();
        template.randomize(&mut body, 1_000_000, &mut fastrand::Rng::with_seed(1));
        let digits = &body[template.random_offsets[0]..][..12];
        assert!(digits.starts_with(b"000000") && digits.iter().all(u8::is_ascii_digit));
    }

    #[test]
    fn without_random_keys_the_placeholder_stays() {
        let template = Template::new(&find("GET").request(b"", false, false), 1, false, false);
        assert!(template.random_offsets.is_empty() && !template.has_tags());
        assert!(String::from_utf8_lossy(&template.body).contains("key:__rand_int__"));
        assert!(String::from_utf8_lossy(&find("ZADD").request(b"", false, false)).contains("\r\n0\r\n"));
    }
}

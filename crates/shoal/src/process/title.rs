//! The title of the process, as `ps` shows it: `redis-server 127.0.0.1:7000 [cluster]`.
//!
//! `ps` reads the memory in which the kernel put the arguments. The kernel shows what stands there, and if the last
//! byte of the arguments is not NUL it goes on into the environment behind them (proc(5), `/proc/pid/cmdline`). So
//! the environment is first copied elsewhere, and then both areas belong to the title.
#![allow(unsafe_code)] // There is no other way to the memory of the arguments; one block for each of the two steps.

use std::sync::Mutex;

use shoal_config::{Config, Mode};

/// The memory that holds the title, as addresses; `None` until [`prepare`] found it.
static AREA: Mutex<Option<Area>> = Mutex::new(None);

#[derive(Debug, Clone, Copy)]
struct Area {
    start: usize,
    end: usize,
}

unsafe extern "C" {
    /// The environment of the C library: pointers to strings, the last one null.
    static mut environ: *mut *mut libc::c_char;
}

/// Finds the memory of the arguments and copies the environment out of the way. Must be called before any thread
/// starts, after the arguments were read (they are gone once a title is set). Without `/proc` titles have no effect.
pub fn prepare() {
    let Some(area) = find_area() else { return };
    // SAFETY: no other thread runs, so nobody else reads or changes the environment. Each pointer in the list is to
    // a string that ends with NUL; `strdup` copies it to memory that is never freed.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let address = (*entry).addr();
            if (area.start..area.end).contains(&address) {
                let copy = libc::strdup(*entry);
                if copy.is_null() {
                    return;
                }
                *entry = copy;
            }
            entry = entry.add(1);
        }
    }
    if let Ok(mut known) = AREA.lock() {
        *known = Some(area);
    }
}

/// Sets the title. It is cut off at the size of the arguments and the environment at the start.
pub fn set(title: &str) {
    let Ok(known) = AREA.lock() else { return };
    let Some(area) = *known else { return };
    let size = area.end - area.start;
    let mut bytes: Vec<u8> = title.bytes().filter(|byte| *byte != 0).take(size.saturating_sub(1)).collect();
    // The rest becomes NUL: a title shorter than the arguments ends at them, a longer one at its own first NUL.
    bytes.resize(size, 0);
    // SAFETY: the area is the writable memory of the arguments and the environment, which the kernel described in
    // /proc/self/stat and which lives as long as the process. `prepare` moved the environment elsewhere, the arguments
    // were read before, and the lock keeps other titles away, so nobody else uses this memory.
    unsafe {
        let target = std::ptr::with_exposed_provenance_mut::<u8>(area.start);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, size);
    }
}

/// The title that `proc-title-template` makes. `program` is the program as it was called.
pub fn expand(config: &Config, mode: Mode, program: &str) -> String {
    let mut title = String::new();
    let mut rest = config.proc_title_template.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        title.push_str(before);
        if let Some(tail) = after.strip_prefix('{') {
            title.push('{');
            rest = tail;
            continue;
        }
        // The template was checked when it was set: a brace that is not closed cannot be here.
        let (variable, tail) = after.split_once('}').unwrap_or((after, ""));
        title.push_str(&value_of(variable, config, mode, program));
        rest = tail;
    }
    title.push_str(rest);
    title.trim_matches(' ').to_string()
}

fn value_of(variable: &str, config: &Config, mode: Mode, program: &str) -> String {
    let port = if config.port == 0 { config.tls_port } else { config.port };
    match variable {
        "title" => program.into(),
        "listen-addr" if port == 0 => format!("unixsocket:{}", config.unixsocket),
        "listen-addr" => {
            let address = config.bind.0.first().map_or("*", String::as_str);
            format!("{address}:{port}")
        }
        "server-mode" if config.cluster_enabled => "[cluster]".into(),
        "server-mode" if mode == Mode::Sentinel => "[sentinel]".into(),
        "config-file" => config.file.path.clone().unwrap_or_else(|| "-".into()),
        "port" => config.port.to_string(),
        "tls-port" => config.tls_port.to_string(),
        "unixsocket" => config.unixsocket.clone(),
        _ => String::new(),
    }
}

/// Reads where the arguments and the environment are: fields 48 to 51 of `/proc/self/stat` (proc(5)).
fn find_area() -> Option<Area> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let addresses: Option<Vec<usize>> =
        fields.split_whitespace().skip(48 - 3).take(4).map(|field| field.parse().ok()).collect();
    let [start, arguments_end, environment_start, end] = addresses?[..] else { return None };
    let is_plausible =
        start != 0 && start < arguments_end && arguments_end == environment_start && environment_start <= end;
    is_plausible.then_some(Area { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_expanded() {
        let mut config = Config::default();
        let cases: &[(&str, &str, &str)] = &[
            ("{title} {listen-addr} {server-mode}", "", "redis-server *:6379"),
            (
                "{title} {listen-addr} {server-mode}",
                "bind 10.0.0.1\nport 7000\ncluster-enabled yes",
                "redis-server 10.0.0.1:7000 [cluster]",
            ),
            ("{listen-addr}", "port 0\nunixsocket /run/x", "unixsocket:/run/x"),
            ("{{{title}", "", "{redis-server"),
            ("{config-file} {port} {tls-port}", "", "- 6379 0"),
        ];
        struct Nowhere;
        impl shoal_config::Surroundings for Nowhere {
            fn include(&mut self, _: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
                Err(String::new())
            }
            fn enter_directory(&mut self, _: &str) -> Result<String, String> {
                Err(String::new())
            }
        }
        for (template, text, expected) in cases {
            config.load(text.as_bytes(), Mode::Server, &mut Nowhere).unwrap();
            config.proc_title_template = (*template).into();
            assert_eq!(expand(&config, Mode::Server, "redis-server"), *expected);
            config = Config::default();
        }
    }

    #[test]
    fn the_memory_of_the_arguments_is_found() {
        let area = find_area().unwrap();
        let first = std::env::args().next().unwrap();
        assert!(area.end - area.start > first.len());
    }
}

//! Finding directives by name, and CONFIG GET.

use shoal_protocol::glob::{self, Case};

use crate::directives::{Config, DIRECTIVES, Directive};
use crate::kind::Flags;

impl Config {
    /// All directives, in the order of the sections of redis.conf.
    pub fn directives() -> &'static [Directive] {
        DIRECTIVES
    }

    /// The directive of this name or alias, in any case of letters.
    pub fn directive(name: &[u8]) -> Option<&'static Directive> {
        DIRECTIVES.iter().find(|row| row.is_called(name))
    }

    /// Whether the value of this directive is a secret that must not be logged; so is that of no unknown name.
    pub fn is_sensitive(name: &[u8]) -> bool {
        Self::directive(name).is_some_and(|row| row.flags.contains(Flags::SENSITIVE))
    }

    /// The value of one directive as CONFIG GET prints it; `None` if there is no such directive.
    pub fn value_of(&self, name: &[u8]) -> Option<Vec<u8>> {
        Self::directive(name).map(|row| (row.show)(self, &row.kind))
    }

    /// What CONFIG GET answers: names and values, each name once.
    ///
    /// A plain name gives its directive under the name as it was written, hidden ones included; a pattern gives all
    /// directives that are not hidden, under their names and under their aliases.
    pub fn matching(&self, patterns: &[impl AsRef<[u8]>]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], row: &Directive| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_vec(), (row.show)(self, &row.kind)));
            }
        };
        for pattern in patterns {
            let pattern = pattern.as_ref();
            if !glob::is_pattern(pattern) {
                if let Some(row) = Self::directive(pattern) {
                    add(pattern, row);
                }
                continue;
            }
            for row in DIRECTIVES.iter().filter(|row| !row.flags.contains(Flags::HIDDEN)) {
                for name in row.names() {
                    if glob::matches(pattern, name.as_bytes(), Case::Insensitive) {
                        add(name.as_bytes(), row);
                    }
                }
            }
        }
        found
    }
}

impl Directive {
    /// Whether `name` is the directive's name or alias, in any case of letters.
    pub fn is_called(&self, name: &[u8]) -> bool {
        self.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The directive's name, and its alias if it has one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }

    /// The value that the directive has when nothing sets it, as CONFIG GET prints it.
    pub fn default_value(&self) -> Vec<u8> {
        (self.show)(&Config::default(), &self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use std::collections::{BTreeMap, BTreeSet};

    /// Directives that Redis 7.2 does not have.
    const OWN: &[&str] = &[
        "cluster-fast-failure-detection",
        "cluster-handover-on-shutdown",
        "cluster-slot-migration-log-max-len",
        "cluster-slot-migration-max-rate",
        "cluster-announce-client-ipv4",
        "cluster-announce-client-ipv6",
        "cluster-announce-client-port",
        "cluster-announce-client-tls-port",
        "cluster-slot-stats-enabled",
        "dual-channel-replication-enabled",
        "rdb-version-compat",
    ];

    /// What `CONFIG GET *` of Redis 7.2.4 printed, started without a configuration file.
    fn reference() -> BTreeMap<String, String> {
        serde_json::from_str(include_str!("../testdata/config-7.2.json")).unwrap()
    }

    #[test]
    fn defaults_are_those_of_redis() {
        let mut config = Config::default();
        config.dir.0 = "<cwd>".into();
        let shown: BTreeMap<String, String> = config
            .matching(&["*"])
            .into_iter()
            .map(|(name, value)| (String::from_utf8(name).unwrap(), String::from_utf8(value).unwrap()))
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .collect();
        let reference = reference();
        for (name, value) in &reference {
            assert_eq!(shown.get(name), Some(value), "{name}");
        }
        assert_eq!(shown.len(), reference.len());
    }

    #[test]
    fn names_are_unique_and_defaults_within_their_bounds() {
        let mut names = BTreeSet::new();
        for row in DIRECTIVES {
            for name in row.names() {
                assert!(names.insert(name), "{name} stands twice");
            }
            assert!(row.description.ends_with('.'), "{}", row.name);
            let mut config = Config::default();
            let bounds = match row.kind {
                Kind::Integer { lower, upper } | Kind::Memory { lower, upper } => {
                    vec![lower.to_string(), upper.to_string()]
                }
                Kind::Octal { lower, upper } => vec![format!("{lower:o}"), format!("{upper:o}")],
                _ => Vec::new(),
            };
            for bound in bounds {
                let result = (row.assign)(
                    &mut config,
                    &row.kind,
                    &[bound.clone().into_bytes()],
                    crate::value::Source::File,
                );
                assert_eq!(result, Ok(()), "{} {bound}", row.name);
                assert_eq!((row.show)(&config, &row.kind), bound.into_bytes(), "{}", row.name);
            }
        }
    }

    #[test]
    fn plain_names_find_everything_and_patterns_what_is_not_hidden() {
        let config = Config::default();
        let get = |patterns: &[&str]| -> Vec<String> {
            let shown = config.matching(patterns);
            shown.into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
        };
        let none: &[&str] = &[];
        let cases: &[(&[&str], &[&str])] = &[
            (&["PORT"], &["PORT"]),
            (&["PORT", "port"], &["PORT"]),
            (&["nonsense"], none),
            (&["use-exit-on-panic"], &["use-exit-on-panic"]),
            (&["use-exit-on-pani?"], none),
            (&["min-*-to-write"], &["min-replicas-to-write", "min-slaves-to-write"]),
            (&["SLAVEOF"], &["SLAVEOF"]),
            (&["maxmemory-s*", "maxmemory-p*"], &["maxmemory-samples", "maxmemory-policy"]),
            (&["maxmemory-*s", "maxmemory-samples"], &["maxmemory-clients", "maxmemory-samples"]),
        ];
        for (patterns, expected) in cases {
            assert_eq!(get(patterns), *expected, "{patterns:?}");
        }
    }
}

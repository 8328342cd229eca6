//! The data directory: what is in it, and what may be done to it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shoal_protocol::quoting::quote;

use super::Failure;
use super::options::DEFAULT_DIRECTORY;
use super::plan::Plan;

const STATE_FILE: &str = "shoal.json";
const STATE_VERSION: u64 = 1;
const LOCK_FILE: &str = "shoal.lock";
/// The first line of every configuration that this launcher wrote.
const MARK: &str = "# Written by `shoal up`.";
/// Short enough for a failover within seconds, long enough for a machine that is busy.
const NODE_TIMEOUT_MS: u32 = 2000;

/// A data directory, which need not exist.
#[derive(Debug)]
pub(super) struct DataDirectory {
    /// As the user wrote it.
    shown: PathBuf,
    root: PathBuf,
}

/// What the state file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    port: u64,
    nodes: u64,
    replicas: u64,
    /// Whether the nodes became a cluster.
    pub is_formed: bool,
}

impl State {
    pub(super) fn new(plan: &Plan, is_formed: bool) -> Self {
        let (port, nodes, replicas) = (plan.port.into(), plan.nodes.into(), plan.replicas.into());
        Self { port, nodes, replicas, is_formed }
    }

    /// The plan that the cluster was made by.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        let number = |value: u64| u16::try_from(value).unwrap_or(0);
        Plan::new(number(self.port), number(self.nodes), number(self.replicas)).map_err(Failure::new)
    }

    fn encode(&self) -> String {
        let state = json!({
            "version": STATE_VERSION,
            "port": self.port,
            "nodes": self.nodes,
            "replicas": self.replicas,
            "formed": self.is_formed,
        });
        format!("{state:#}\n")
    }

    fn decode(text: &str) -> Option<Self> {
        let state: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| state.get(name).and_then(Value::as_u64);
        (number("version")? == STATE_VERSION).then_some(())?;
        Some(Self {
            port: number("port")?,
            nodes: number("nodes")?,
            replicas: number("replicas")?,
            is_formed: state.get("formed")?.as_bool()?,
        })
    }
}

impl DataDirectory {
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        let absolute = std::path::absolute(path)
            .map_err(|error| Failure::new(format!("cannot use {} as --dir: {error}", path.display())))?;
        // Processes are recognised by their directory, so links on the way to it must not matter.
        let root = absolute.canonicalize().unwrap_or(absolute);
        Ok(Self { shown: path.into(), root })
    }

    /// The directory for messages.
    pub(super) fn shown(&self) -> std::path::Display<'_> {
        self.shown.display()
    }

    /// The option that leads to this directory, with a space before it; empty for the default directory.
    pub(super) fn option(&self) -> String {
        if self.shown == Path::new(DEFAULT_DIRECTORY) {
            String::new()
        } else {
            format!(" --dir {}", self.shown.display())
        }
    }

    pub(super) fn node_path(&self, port: u16) -> PathBuf {
        self.root.join(port.to_string())
    }

    pub(super) fn log_path(&self, port: u16) -> PathBuf {
        self.node_path(port).join("log")
    }

    pub(super) fn config_path(&self, port: u16) -> PathBuf {
        self.node_path(port).join("redis.conf")
    }

    pub(super) fn pid_path(&self, port: u16) -> PathBuf {
        self.node_path(port).join("redis.pid")
    }

    /// Makes the directory and keeps other launchers out of it while the result lives.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        let open = || -> io::Result<File> {
            fs::create_dir_all(&self.root)?;
            File::create(self.root.join(LOCK_FILE))
        };
        let file = open().map_err(|error| {
            Failure::new(format!(
                "cannot write to {}: {error}. Choose another directory with --dir.",
                self.shown()
            ))
        })?;
        match file.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Failure::new(format!(
                "another `shoal up` is at work in {}. Wait for it, or choose another directory with --dir.",
                self.shown()
            ))),
        }
    }

    /// The state of the cluster; none if there is no state file.
    pub(super) fn load(&self) -> Result<Option<State>, Failure> {
        match fs::read_to_string(self.root.join(STATE_FILE)) {
            Ok(text) => State::decode(&text).map(Some).ok_or_else(|| {
                Failure::new(format!(
                    "{}/{STATE_FILE} cannot be read (another version?). Run `shoal up --fresh{}` to erase the \
                     cluster, or choose another directory with --dir.",
                    self.shown(),
                    self.option()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(format!("cannot read {}/{STATE_FILE}: {error}", self.shown()))),
        }
    }

    /// The state of a cluster that must be there.
    pub(super) fn existing(&self) -> Result<State, Failure> {
        self.load()?.ok_or_else(|| {
            Failure::new(format!(
                "there is no cluster in {}. `shoal up{}` makes one.",
                self.shown(),
                self.option()
            ))
        })
    }

    /// Writes the state so that a crash leaves the old or the new one.
    pub(super) fn save(&self, state: &State) -> Result<(), Failure> {
        let (path, temporary) = (self.root.join(STATE_FILE), self.root.join("shoal.json.tmp"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(state.encode().as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| Failure::new(format!("cannot write {}/{STATE_FILE}: {error}", self.shown())))
    }

    /// A directory without a state file must hold nothing.
    pub(super) fn must_be_unused(&self) -> Result<(), Failure> {
        let names = self.entries();
        if names.is_empty() {
            return Ok(());
        }
        if names.iter().any(|name| self.is_node(name)) {
            return Err(Failure::new(format!(
                "{} is half made: it holds nodes but no {STATE_FILE}. Run `shoal up --fresh{}` to erase them and \
                 begin again, or choose another directory with --dir.",
                self.shown(),
                self.option()
            )));
        }
        Err(Failure::new(format!(
            "{} holds files that are not shoal's ({}). Choose another directory with --dir.",
            self.shown(),
            names.join(", ")
        )))
    }

    /// Every node of a formed cluster must have its files.
    pub(super) fn check_nodes(&self, plan: &Plan) -> Result<(), Failure> {
        for port in plan.ports() {
            for file in ["redis.conf", "nodes.conf"] {
                if !self.node_path(port).join(file).is_file() {
                    return Err(Failure::new(format!(
                        "{}/{port}/{file} is missing, so the cluster cannot go on. Bring the file back from a copy, or \
                         run `shoal up --fresh{}` to erase the cluster and begin again.",
                        self.shown(),
                        self.option()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Makes the directories and configurations of all nodes, and the state file of a cluster not yet formed.
    pub(super) fn prepare(&self, plan: &Plan) -> Result<(), Failure> {
        self.save(&State::new(plan, false))?;
        for port in plan.ports() {
            let write = || -> io::Result<()> {
                fs::create_dir_all(self.node_path(port))?;
                fs::write(self.config_path(port), self.config_text(port))
            };
            write().map_err(|error| Failure::new(format!("cannot make {}/{port}: {error}", self.shown())))?;
        }
        Ok(())
    }

    /// Erases the nodes and the state; what else is in the directory stays.
    pub(super) fn erase(&self) -> Result<(), Failure> {
        for name in self.entries() {
            if self.is_node(&name) {
                let path = self.root.join(&name);
                fs::remove_dir_all(&path)
                    .map_err(|error| Failure::new(format!("cannot erase {}: {error}", path.display())))?;
            }
        }
        let _ = fs::remove_file(self.root.join(STATE_FILE));
        Ok(())
    }

    /// What is in the directory but for the launcher's own files.
    fn entries(&self) -> Vec<String> {
        let listed = fs::read_dir(&self.root).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<_> = listed
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with("shoal."))
            .collect();
        names.sort();
        names
    }

    /// Whether this entry is a node that the launcher made.
    fn is_node(&self, name: &str) -> bool {
        name.parse::<u16>().is_ok_and(|port| {
            fs::read_to_string(self.config_path(port)).is_ok_and(|text| text.starts_with(MARK))
        })
    }

    fn config_text(&self, port: u16) -> String {
        let path = |path: PathBuf| quote(path.as_os_str().as_encoded_bytes());
        format!(
            "{MARK} It is yours now: add what you need, later runs leave it as it is.\n\
             bind 127.0.0.1\n\
             port {port}\n\
             dir {}\n\
             pidfile {}\n\
             logfile {}\n\
             cluster-enabled yes\n\
             cluster-config-file nodes.conf\n\
             cluster-node-timeout {NODE_TIMEOUT_MS}\n",
            path(self.node_path(port)),
            path(self.pid_path(port)),
            path(self.log_path(port)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("shoal-directory-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const PLAN: Plan = Plan { port: 30001, nodes: 6, replicas: 1 };

    #[test]
    fn the_state_reads_back() {
        for is_formed in [true, false] {
            let state = State::new(&PLAN, is_formed);
            assert_eq!(State::decode(&state.encode()), Some(state));
        }
        for text in ["", "{}", "[]", r#"{"version":2,"port":1,"nodes":6,"replicas":1,"formed":true}"#] {
            assert_eq!(State::decode(text), None, "{text}");
        }
        let impossible = r#"{"version":1,"port":1,"nodes":70000,"replicas":1,"formed":true}"#;
        assert!(State::decode(impossible).unwrap().plan().is_err());
    }

    #[test]
    fn only_what_is_shoals_is_erased() {
        let scratch = Scratch::new("erase");
        let directory = DataDirectory::new(&scratch.0).unwrap();
        assert!(directory.load().unwrap().is_none());
        directory.must_be_unused().unwrap();
        directory.prepare(&PLAN).unwrap();
        assert!(!directory.load().unwrap().unwrap().is_formed);
        assert!(directory.check_nodes(&PLAN).unwrap_err().0.contains("30001/nodes.conf is missing"));
        fs::remove_file(scratch.0.join(STATE_FILE)).unwrap();
        assert!(directory.must_be_unused().unwrap_err().0.contains("half made"));
        fs::create_dir(scratch.0.join("7000")).unwrap();
        fs::write(scratch.0.join("notes"), "mine").unwrap();
        directory.erase().unwrap();
        assert_eq!(directory.entries(), ["7000", "notes"]);
        assert!(directory.must_be_unused().unwrap_err().0.contains("not shoal's (7000, notes)"));
    }

    #[test]
    fn one_launcher_at_a_time() {
        let scratch = Scratch::new("lock");
        let directory = DataDirectory::new(&scratch.0).unwrap();
        let lock = directory.lock().unwrap();
        assert!(directory.lock().unwrap_err().0.contains("another `shoal up`"));
        drop(lock);
        directory.lock().unwrap();
    }
}

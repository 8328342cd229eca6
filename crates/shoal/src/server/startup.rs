//! From the command line to a configured process that is ready to serve.
//!
//! ```text
//! prepare        command line, configuration, supervisor, daemon, log, crash report, file limit
//!   (the caller sets up its listeners and data structures)
//! announce       pid file, title, logo or mode, warnings, "Server initialized"
//!   (the caller loads its data)
//! ready          "Ready to accept connections", word to systemd
//!   (the loop)
//! finish         pid file, "bye bye"
//! ```
//! No thread may start before [`prepare`] returns, because it may fork.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{env, fs, io};

use shoal_transport::{SharedDisk, SystemDisk};

use shoal_config::{
    Config, Invocation, LoadError, Mode, OomScoreAdjust, REDIS_VERSION, RunOptions, Surroundings,
};

use crate::log_line;
use crate::logging::{self, LogSettings, Role};
use crate::process::daemon::{self, PidFile};
use crate::process::supervisor::Supervisor;
use crate::process::{crash, limits, system, title, warnings};

const LOGO: &str = include_str!("logo.txt");
/// The largest configuration that is read from one file or the standard input, in bytes.
const CONFIG_SIZE_MAX: u64 = 64 << 20;

const HELP: &str = "\
Usage: ./redis-server [/path/to/redis.conf] [options] [-]
       ./redis-server - (read config from stdin)
       ./redis-server -v or --version
       ./redis-server -h or --help
       ./redis-server --check-system

Examples:
       ./redis-server (run the server with default conf)
       echo 'maxmemory 128mb' | ./redis-server -
       ./redis-server /etc/redis/6379.conf
       ./redis-server --port 7777
       ./redis-server --port 7777 --replicaof 127.0.0.1 8888
       ./redis-server /etc/myredis.conf --loglevel verbose -

Sentinel mode:
       ./redis-server /etc/sentinel.conf --sentinel
";

/// A process that is configured and in the background if it is to be.
#[derive(Debug)]
pub struct Prepared {
    /// The configuration; `dir` is absolute and the working directory, `maxclients` fits the limit of open files.
    pub config: Config,
    /// As what to run.
    pub mode: Mode,
    /// The supervisor to talk to.
    pub supervisor: Supervisor,
    /// The program as it was called, for the title.
    pub program: String,
    is_in_background: bool,
    pid_file: Option<PidFile>,
}

/// Takes a server as far as its configuration goes. `program` is the program as it was called.
///
/// # Errors
/// The exit code, when there is nothing (more) to run: everything has been said then.
pub fn prepare(program: &str, arguments: Vec<OsString>) -> Result<Prepared, i32> {
    title::prepare();
    let arguments: Vec<Vec<u8>> = arguments.into_iter().map(OsString::into_vec).collect();
    let run = match Invocation::parse(program.as_bytes(), &arguments) {
        Invocation::Run(run) => run,
        question => return Err(answer(&question)),
    };
    let config = read_config(&run)?;
    logging::set_level(config.loglevel);
    if run.mode == Mode::Sentinel {
        logging::set_role(Role::Sentinel);
    }
    configure_log(&config).map_err(|error| {
        // Redis finds this out while it reads the file, and says it in the same words.
        say_error(&LoadError::without_line(format!("Can't open the log file: {}", reason(&error))))
    })?;
    let supervisor = Supervisor::find(config.supervised);
    let is_in_background = config.daemonize && !supervisor.is_present();
    if is_in_background && let Err(error) = daemon::detach() {
        log_line!(Warning, "Can't go to the background: {}", reason(&error));
    }
    crash::install(config.crash_log_enabled);
    crash::set_exit_on_panic(config.use_exit_on_panic);
    let mut prepared = Prepared {
        config,
        mode: run.mode,
        supervisor,
        program: program.into(),
        is_in_background,
        pid_file: None,
    };
    prepared.log_start(run.has_arguments);
    prepared.config.maxclients =
        limits::raise_file_limit(prepared.config.maxclients).map_err(|limits::TooFewFiles| 1)?;
    Ok(prepared)
}

impl Prepared {
    /// Everything that is said and written between the listeners and the data.
    pub fn announce(&mut self) {
        let config = &self.config;
        if self.mode == Mode::Server {
            let role = if config.replica_of.0.is_some() { Role::Replica } else { Role::Primary };
            logging::set_role(role);
        }
        if self.is_in_background || !config.pidfile.is_empty() {
            let path = if config.pidfile.is_empty() { daemon::DEFAULT_PID_FILE } else { &config.pidfile };
            self.pid_file = Some(PidFile::create(path));
        }
        self.set_title();
        self.log_mode();
        warnings::warn_of_backlog(self.config.tcp_backlog);
        if self.mode == Mode::Server {
            log_line!(Notice, "Server initialized");
            warnings::warn_of_memory_settings(self.config.disable_thp);
        }
    }

    /// Says that clients are served.
    pub fn ready(&self) {
        let config = &self.config;
        if self.mode == Mode::Server {
            if config.port != 0 || config.tls_port != 0 {
                log_line!(Notice, "Ready to accept connections tcp");
            }
            if !config.unixsocket.is_empty() {
                log_line!(Notice, "The server is now ready to accept connections at {}", config.unixsocket);
            }
        }
        self.supervisor.ready(self.ready_status());
        warnings::warn_of_maxmemory(config.maxmemory_bytes);
        set_oom_score(config);
    }

    /// What systemd shows while the server runs.
    pub fn ready_status(&self) -> &'static str {
        if self.config.replica_of.0.is_some() {
            "Ready to accept connections in read-only mode. Waiting for MASTER <-> REPLICA sync"
        } else {
            "Ready to accept connections"
        }
    }

    /// Sets the title of the process; again whenever what it shows changes.
    pub fn set_title(&self) {
        if self.config.set_proc_title {
            title::set(&title::expand(&self.config, self.mode, &self.program));
        }
    }

    /// The last words of a clean stop, after data and listeners are closed.
    pub fn finish(&mut self) {
        if let Some(file) = self.pid_file.take() {
            file.remove();
        }
        let program = if self.mode == Mode::Sentinel { "Sentinel" } else { "Redis" };
        log_line!(Warning, "{program} is now ready to exit, bye bye...");
    }

    fn log_start(&self, has_arguments: bool) {
        log_line!(Notice, "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
        log_line!(
            Notice,
            "Redis version={REDIS_VERSION}, bits={}, commit=00000000, modified=0, pid={}, just started",
            usize::BITS,
            std::process::id()
        );
        if has_arguments {
            log_line!(Notice, "Configuration loaded");
        } else {
            log_line!(
                Warning,
                "Warning: no config file specified, using the default config. In order to specify a config file use \
                 {} /path/to/redis.conf",
                self.program
            );
        }
    }

    /// The logo on a terminal or if it is wanted, otherwise a line.
    fn log_mode(&self) {
        let config = &self.config;
        let mode = match self.mode {
            Mode::Sentinel => "sentinel",
            Mode::Server if config.cluster_enabled => "cluster",
            Mode::Server => "standalone",
        };
        let port = if config.port == 0 { config.tls_port } else { config.port };
        let is_on_terminal =
            config.logfile.is_empty() && !config.syslog_enabled && system::stdout_is_terminal();
        if !config.always_show_logo && !is_on_terminal {
            log_line!(Notice, "Running mode={mode}, port={port}.");
            return;
        }
        let values = [
            ("{shoal_version}", env!("CARGO_PKG_VERSION").to_string()),
            ("{redis_version}", REDIS_VERSION.into()),
            ("{mode}", mode.into()),
            ("{port}", port.to_string()),
            ("{pid}", std::process::id().to_string()),
        ];
        let logo = values.iter().fold(LOGO.to_string(), |text, (name, value)| text.replace(name, value));
        logging::write_raw(&logo);
    }
}

/// Answers what is no wish to run; gives the exit code.
fn answer(question: &Invocation) -> i32 {
    let (text, code) = match question {
        Invocation::Version => (version_line(), 0),
        Invocation::CheckSystem => {
            let (report, is_fine) = warnings::check_system();
            (report, i32::from(!is_fine))
        }
        Invocation::TestMemory(_) => {
            let _ = io::stderr()
                .write_all(b"The memory test is not part of Shoal: use memtest86 or stressapptest.\n");
            return 2;
        }
        Invocation::Help | Invocation::Run(_) => {
            let _ = io::stderr().write_all(HELP.as_bytes());
            return 1;
        }
    };
    let _ = io::stdout().write_all(text.as_bytes());
    code
}

/// What `redis-server --version` prints.
pub fn version_line() -> String {
    format!(
        "Redis server v={REDIS_VERSION} sha=00000000:0 malloc={} bits={} build=0 shoal={}\n",
        shoal_transport::allocator_name(),
        usize::BITS,
        env!("CARGO_PKG_VERSION")
    )
}

/// Reads and joins all sources of configuration.
fn read_config(run: &RunOptions) -> Result<Config, i32> {
    let mut config = Config::default();
    config.dir.0 = env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let mut file = Vec::new();
    if let Some(path) = &run.config_path {
        let path = PathBuf::from(OsString::from_vec(path.clone()));
        let absolute = std::path::absolute(&path).unwrap_or(path);
        file = read_file(&absolute).map_err(|message| {
            log_line!(Warning, "{message}");
            1
        })?;
        config.file.path = Some(absolute.to_string_lossy().into_owned());
    }
    let mut stdin = Vec::new();
    if run.reads_stdin {
        log_line!(Warning, "Reading config from stdin");
        let _ = io::stdin().lock().take(CONFIG_SIZE_MAX).read_to_end(&mut stdin);
    }
    let mut disk = Disk { failure: None };
    let loaded = config.load(&run.join(&file, &stdin), run.mode, &mut disk);
    match (loaded, disk.failure) {
        (_, Some(message)) => {
            log_line!(Warning, "{message}");
            Err(1)
        }
        (Err(error), None) => Err(say_error(&error)),
        (Ok(()), None) => Ok(config),
    }
}

/// The file system, for the lines of a configuration that need it.
struct Disk {
    /// An include that failed; Redis logs it and stops without naming the line.
    failure: Option<String>,
}

impl Surroundings for Disk {
    fn include(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let has_wildcard = pattern.contains(['*', '?', '[']);
        let paths: Vec<PathBuf> = if has_wildcard {
            glob::glob(pattern).map(|paths| paths.filter_map(Result::ok).collect()).unwrap_or_default()
        } else {
            vec![pattern.into()]
        };
        let read = |path: PathBuf| match read_file(&path) {
            Ok(text) => Ok((path.to_string_lossy().into_owned(), text)),
            Err(message) => Err(message),
        };
        let files: Result<Vec<_>, String> = paths.into_iter().map(read).collect();
        files.inspect_err(|message| self.failure = Some(message.clone()))
    }

    fn enter_directory(&mut self, path: &str) -> Result<String, String> {
        env::set_current_dir(path).map_err(|error| reason(&error))?;
        env::current_dir().map(|path| path.to_string_lossy().into_owned()).map_err(|error| reason(&error))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        fs::File::open(path)?.take(CONFIG_SIZE_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    read().map_err(|error| {
        format!("Fatal error, can't open config file '{}': {}", path.display(), reason(&error))
    })
}

fn configure_log(config: &Config) -> io::Result<()> {
    logging::configure(LogSettings {
        file: (!config.logfile.is_empty()).then(|| {
            // The server may change its directory later; the log stays where it began.
            let path = PathBuf::from(&config.logfile);
            std::path::absolute(&path).unwrap_or(path)
        }),
        syslog: config.syslog_enabled.then(|| (config.syslog_ident.clone(), config.syslog_facility)),
    })
}

/// Sets the kernel's out-of-memory score as `oom-score-adj` says; again whenever the role or the directive changes. `no`
/// gives back the score that was found when it was changed first, and otherwise leaves it alone.
pub fn set_oom_score(config: &Config) {
    const PATH: &str = "/proc/self/oom_score_adj";
    static FOUND: Mutex<Option<i32>> = Mutex::new(None);
    let Ok(mut found) = FOUND.lock() else { return };
    let values = config.oom_score_adj_values;
    let value: i32 = if config.replica_of.0.is_some() { values.replica } else { values.primary }.into();
    let read = || fs::read_to_string(PATH).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let score = match config.oom_score_adj {
        OomScoreAdjust::No => match found.take() {
            Some(score) => score,
            None => return,
        },
        OomScoreAdjust::Relative => found.get_or_insert_with(read).saturating_add(value),
        OomScoreAdjust::Absolute => {
            found.get_or_insert_with(read);
            value
        }
    };
    if let Err(error) = fs::write(PATH, score.clamp(-1000, 1000).to_string()) {
        log_line!(Warning, "Unable to write oom_score_adj: {}", reason(&error));
    }
}

fn say_error(error: &LoadError) -> i32 {
    let _ = io::stderr().write_all(error.to_string().as_bytes());
    1
}

/// The operating system's words without the number that the standard library adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Runs a server, or what else `arguments` ask for. Gives the exit code.
pub fn server_main(program: &str, arguments: Vec<OsString>) -> i32 {
    server_main_on(program, arguments, &(Arc::new(SystemDisk) as SharedDisk))
}

/// The same on another disk: for tests of what a crash leaves.
pub fn server_main_on(program: &str, arguments: Vec<OsString>, disk: &SharedDisk) -> i32 {
    let prepared = match prepare(program, arguments) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    crate::server::run::serve(prepared, disk)
}

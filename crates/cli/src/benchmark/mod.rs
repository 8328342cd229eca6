//! The load generator: as `redis-benchmark`, at less cost per request.
//!
//! `request` knows what to send, `load` sends it from one or more threads, `histogram` keeps the latencies, `report` prints.

mod cluster;
mod histogram;
mod load;
mod options;
mod report;
mod request;
mod scanner;
mod server;

use crate::console::{self, err, out};
use crate::exit::{Step, fail};
use crate::text::{lossy, read_standard_input};
use cluster::Primary;
use histogram::Histogram;
use load::{LoadError, Shared, Target, Worker};
use options::{Options, Output};
use report::Outcome;
use request::{SUITE, Template};
use server::{ServerConfiguration, authentication};
use shoal_protocol::value::encode_request;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Time between two lines about the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Runs the benchmark of a command line, without the program's name.
pub(crate) fn run(arguments: &[Vec<u8>]) -> Step {
    let (mut options, command) = options::parse(arguments)?;
    let (mut primaries, mut configuration) = (Vec::new(), None);
    if options.cluster {
        primaries = cluster::discover(&options)?;
        if options.threads == 0 {
            options.threads = primaries.len();
        }
    } else {
        configuration = ServerConfiguration::fetch(&options.address(), &options)?;
        if configuration.is_none() {
            err!("WARNING: Could not fetch server CONFIG");
        }
    }
    if !options.keep_alive {
        err!(
            "WARNING: Keepalive disabled. You probably need 'echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse' for Linux to use \
             a lot of clients/requests"
        );
    }
    if !command.is_empty() && options.tests.is_some() {
        err!("WARNING: Option -t is ignored.");
    }
    let benchmark = Benchmark { options, primaries, configuration };
    if benchmark.options.idle {
        out!(
            "Creating {} idle connections and waiting forever (Ctrl+C when done)\n",
            benchmark.options.clients
        );
        return benchmark.run_test("", b"", 0);
    }
    if benchmark.options.output == Output::Csv {
        out!("{}", report::CSV_HEADING);
    }
    if command.is_empty() { benchmark.run_suite() } else { benchmark.run_command(command) }
}

struct Benchmark {
    options: Options,
    primaries: Vec<Primary>,
    configuration: Option<ServerConfiguration>,
}

impl Benchmark {
    fn run_suite(&self) -> Step {
        let options = &self.options;
        let data: Vec<u8> =
            std::iter::repeat_with(|| fastrand::alphanumeric() as u8).take(options.data_length).collect();
        loop {
            for test in SUITE.iter().filter(|test| test.is_selected(options.tests.as_deref())) {
                let request = test.request(&data, options.cluster, options.key_count.is_some());
                self.run_test(test.title, &request, options.data_length)?;
            }
            if !matches!(options.output, Output::Csv | Output::Json) {
                out!("\n");
            }
            if !options.repeat {
                return Ok(());
            }
        }
    }

    fn run_command(&self, mut words: Vec<Vec<u8>>) -> Step {
        let title = words.iter().map(|word| lossy(word)).collect::<Vec<_>>().join(" ");
        if self.options.standard_input {
            words.push(read_standard_input()?);
        }
        let mut request = Vec::new();
        encode_request(&words, &mut request);
        loop {
            self.run_test(&title, &request, request.len())?;
            if !self.options.repeat {
                return Ok(());
            }
        }
    }

    fn template(&self, request: &[u8]) -> Template {
        let options = &self.options;
        let mut template =
            Template::new(request, options.pipeline, options.key_count.is_some(), options.cluster);
        if let Some(words) = authentication(options) {
            template.push_prefix(&words);
        }
        if options.tracking {
            template.push_prefix(&[b"CLIENT", b"TRACKING", b"on"]);
        }
        if options.database != 0 && !options.cluster {
            template.push_prefix(&[b"SELECT", options.database.to_string().as_bytes()]);
        }
        if options.resp3 {
            template.push_prefix(&[b"HELLO", b"3"]);
        }
        template
    }

    fn targets(&self) -> Step<Vec<Target>> {
        let mut addresses: Vec<_> = self.primaries.iter().map(|primary| primary.address.clone()).collect();
        if addresses.is_empty() {
            addresses.push(self.options.address());
        }
        let mut targets = Vec::new();
        for address in &addresses {
            match Target::resolve(address) {
                Ok(target) => targets.push(target),
                Err(error) => {
                    fail!("Could not connect to Redis at {address}: {}", console::error_text(&error));
                }
            }
        }
        Ok(targets)
    }

    fn run_test(&self, title: &str, request: &[u8], data_length: usize) -> Step {
        let options = &self.options;
        let (template, targets) = (self.template(request), self.targets()?);
        // One thread at a time asks for the new distribution of slots; the others use it.
        let refreshing = Mutex::new(Instant::now());
        let refresh = || {
            let asked = Instant::now();
            let mut last = refreshing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let result = *last > asked || cluster::refresh(&self.primaries, options).is_ok();
            *last = Instant::now();
            result
        };
        let shared = Shared {
            template: &template,
            targets: &targets,
            primaries: &self.primaries,
            requests: options.requests,
            pipeline: options.pipeline,
            key_count: options.key_count.unwrap_or(0),
            keep_alive: options.keep_alive,
            idle: options.idle,
            precision: options.precision,
            issued: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            latency_sum_us: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            refresh: &refresh,
        };
        let mut progress = Progress::new(title, options);
        let (histogram, elapsed) = match drive(&shared, options, &mut progress) {
            Ok(result) => result,
            Err(LoadError(text)) => fail!("{text}"),
        };
        let requests = shared.finished.load(Ordering::Relaxed);
        let outcome = Outcome { title, requests, elapsed, histogram, data_length };
        outcome.print(options, &self.primaries, self.configuration.as_ref(), progress.printed);
        Ok(())
    }
}

/// Runs all threads to their end, showing the progress. Returns what they measured and how long it took.
fn drive(
    shared: &Shared<'_>,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<(Histogram, Duration), LoadError> {
    let threads = options.threads.max(1);
    let ready = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for thread in 0..threads {
            let (sender, ready) = (sender.clone(), &ready);
            scope.spawn(move || {
                let clients = (thread..options.clients as usize).step_by(threads);
                let worker = Worker::new(shared, clients);
                ready.wait();
                let result = worker.and_then(Worker::run);
                if result.is_err() {
                    shared.stop.store(true, Ordering::Relaxed);
                }
                // The receiver is gone only if another thread has failed already.
                let _ = sender.send(result);
            });
        }
        ready.wait();
        let start = Instant::now();
        let mut histogram = Histogram::new(options.precision);
        let mut running = threads;
        while running > 0 {
            match results.recv_timeout(PROGRESS_INTERVAL) {
                Ok(result) => {
                    histogram.merge(&result?);
                    running -= 1;
                }
                Err(_) => progress.print(shared, start.elapsed()),
            }
        }
        Ok((histogram, start.elapsed()))
    })
}

/// The line about the progress.
struct Progress<'a> {
    title: &'a str,
    options: &'a Options,
    /// Length of the line that was printed last.
    printed: usize,
    last: Snapshot,
}

#[derive(Clone, Copy, Default)]
struct Snapshot {
    elapsed: Duration,
    finished: u64,
    latency_sum_us: u64,
}

impl<'a> Progress<'a> {
    fn new(title: &'a str, options: &'a Options) -> Self {
        Self { title, options, printed: 0, last: Snapshot::default() }
    }

    fn print(&mut self, shared: &Shared<'_>, elapsed: Duration) {
        if matches!(self.options.output, Output::Csv | Output::Json) {
            return;
        }
        if self.options.idle {
            out!("clients: {}\r", self.options.clients);
            console::flush();
            return;
        }
        let now = Snapshot {
            elapsed,
            finished: shared.finished.load(Ordering::Relaxed),
            latency_sum_us: shared.latency_sum_us.load(Ordering::Relaxed),
        };
        let (rate, latency) = now.since(self.last);
        let (overall_rate, overall_latency) = now.since(Snapshot::default());
        report::wipe(self.printed);
        let line = format!(
            "{}: rps={rate:.1} (overall: {overall_rate:.1}) avg_msec={latency:.3} (overall: {overall_latency:.3})\r",
            self.title
        );
        self.printed = line.len();
        out!("{line}");
        console::flush();
        self.last = now;
    }
}

impl Snapshot {
    /// Requests per second and average latency in milliseconds since an earlier snapshot.
    fn since(self, earlier: Self) -> (f64, f64) {
        let seconds = (self.elapsed - earlier.elapsed).as_secs_f64().max(1e-6);
        let finished = self.finished - earlier.finished;
        let latency_ms =
            (self.latency_sum_us - earlier.latency_sum_us) as f64 / finished.max(1) as f64 / 1000.0;
        (finished as f64 / seconds, latency_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_give_rates() {
        let early = Snapshot { elapsed: Duration::from_secs(1), finished: 100, latency_sum_us: 100_000 };
        let late = Snapshot { elapsed: Duration::from_secs(3), finished: 300, latency_sum_us: 500_000 };
        assert_eq!(late.since(early), (100.0, 2.0));
        assert_eq!(early.since(early).1, 0.0);
    }
}

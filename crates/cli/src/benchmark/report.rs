//! Results as text.

use super::cluster::Primary;
use super::histogram::Histogram;
use super::options::{Options, Output};
use super::server::ServerConfiguration;
use crate::console::out;
use serde_json::json;
use std::time::Duration;

/// The first line with `--csv`.
pub(super) const CSV_HEADING: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                                      \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n";

/// What one test gave.
pub(super) struct Outcome<'a> {
    pub title: &'a str,
    pub requests: u64,
    pub elapsed: Duration,
    pub histogram: Histogram,
    pub data_length: usize,
}

impl Outcome<'_> {
    fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    /// Prints it as the options want it. `last_progress` is the length of the line about the progress, which is wiped out.
    pub(super) fn print(
        &self,
        options: &Options,
        primaries: &[Primary],
        configuration: Option<&ServerConfiguration>,
        last_progress: usize,
    ) {
        let (rate, summary) = (self.requests_per_second(), self.histogram.summary());
        let title = self.title;
        match options.output {
            Output::Csv => {
                out!(
                    "\"{title}\",\"{rate:.2}\",\"{:.3}\",\"{:.3}\",\"{:.3}\",\"{:.3}\",\"{:.3}\",\"{:.3}\"\n",
                    summary.average,
                    summary.minimum,
                    summary.p50,
                    summary.p95,
                    summary.p99,
                    summary.maximum
                );
            }
            Output::Json => {
                let result = json!({
                    "test": title,
                    "requests": self.requests,
                    "seconds": self.elapsed.as_secs_f64(),
                    "requests_per_second": rate,
                    "clients": options.clients,
                    "pipeline": options.pipeline,
                    "payload_bytes": self.data_length,
                    "latency_ms": {
                        "average": summary.average,
                        "minimum": summary.minimum,
                        "p50": summary.p50,
                        "p95": summary.p95,
                        "p99": summary.p99,
                        "maximum": summary.maximum,
                    },
                });
                out!("{result}\n");
            }
            Output::Quiet => {
                wipe(last_progress);
                out!("{title}: {rate:.2} requests per second, p50={:.3} msec\n", summary.p50);
            }
            Output::Full => {
                wipe(last_progress);
                self.print_setting(options, primaries, configuration);
                self.print_distribution();
                out!(
                    "Summary:\n  throughput summary: {rate:.2} requests per second\n  latency summary (msec):\n"
                );
                out!("    {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "avg", "min", "p50", "p95", "p99", "max");
                out!(
                    "    {:9.3} {:9.3} {:9.3} {:9.3} {:9.3} {:9.3}\n",
                    summary.average,
                    summary.minimum,
                    summary.p50,
                    summary.p95,
                    summary.p99,
                    summary.maximum
                );
            }
        }
        crate::console::flush();
    }

    fn print_setting(
        &self,
        options: &Options,
        primaries: &[Primary],
        configuration: Option<&ServerConfiguration>,
    ) {
        out!("====== {} ======\n", self.title);
        out!("  {} requests completed in {:.2} seconds\n", self.requests, self.elapsed.as_secs_f64());
        out!("  {} parallel clients\n", options.clients);
        out!("  {} bytes payload\n", self.data_length);
        out!("  keep alive: {}\n", u8::from(options.keep_alive));
        if !primaries.is_empty() {
            out!("  cluster mode: yes ({} masters)\n", primaries.len());
        }
        for (index, primary) in primaries.iter().enumerate() {
            let Some(configuration) = &primary.configuration else { continue };
            let save = if configuration.save.is_empty() { "NONE" } else { &configuration.save };
            out!(
                "  node [{index}] configuration:\n    save: {save}\n    appendonly: {}\n",
                configuration.appendonly
            );
        }
        if let Some(configuration) = configuration {
            out!("  host configuration \"save\": {}\n", configuration.save);
            out!("  host configuration \"appendonly\": {}\n", configuration.appendonly);
        }
        if options.threads > 0 {
            out!("  multi-thread: yes\n  threads: {}\n\n", options.threads);
        } else {
            out!("  multi-thread: no\n\n");
        }
    }

    fn print_distribution(&self) {
        if self.histogram.total() == 0 {
            return;
        }
        let print = |line: &super::histogram::Line| {
            out!(
                "{:.3}% <= {:.3} milliseconds (cumulative count {})\n",
                line.percentile,
                line.value_us as f64 / 1000.0,
                line.cumulative_count
            );
        };
        out!("Latency by percentile distribution:\n");
        self.histogram.percentiles().iter().for_each(print);
        out!("\nCumulative distribution of latencies:\n");
        self.histogram.cumulative().iter().for_each(print);
        out!("\n");
    }
}

/// Overwrites a line about the progress with spaces.
pub(super) fn wipe(length: usize) {
    out!("{:1$}\r", "", length.max(1));
}

//! Clients that write, and remember what they were told.

use crate::Outcome;
use crate::model::{Model, Step};
use shoal_machine::Rng;
use shoal_probe::Client;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a client has done.
#[derive(Clone, Debug)]
pub struct History {
    client: usize,
    rng: Rng,
    done: Vec<Done>,
    /// The state after all of it.
    model: Model,
}

/// Something a client sent, and when it had the reply.
#[derive(Clone, Debug)]
struct Done {
    step: Step,
    acknowledged: Option<Instant>,
}

impl History {
    /// Nothing yet.
    pub fn new(client: usize, rng: Rng) -> Self {
        Self { client, rng, done: Vec::new(), model: Model::new(client) }
    }

    /// How much was done.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Writes until the server is gone, or `stop` is set.
    ///
    /// # Errors
    /// The server answered with an error.
    pub fn write(&mut self, port: u16, stop: &AtomicBool) -> Outcome<()> {
        let Some(mut client) = Client::open(port) else { return Ok(()) };
        while !stop.load(Ordering::Relaxed) {
            let step = self.model.next_step(&mut self.rng);
            self.model.apply(&step);
            self.done.push(Done { step: step.clone(), acknowledged: None });
            if !send(&mut client, &step)? {
                return Ok(());
            }
            if let Some(done) = self.done.last_mut() {
                done.acknowledged = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// How many of the first steps must be there after a crash at `killed`, if what was acknowledged `grace` before is safe.
    fn safe_steps(&self, killed: Instant, grace: Duration) -> usize {
        let is_safe = |done: &Done| done.acknowledged.is_some_and(|at| at + grace <= killed);
        self.done.iter().rposition(is_safe).map_or(0, |index| index + 1)
    }

    /// The steps that had been acknowledged by then.
    pub fn acknowledged_by(&self, at: Instant) -> usize {
        self.safe_steps(at, Duration::ZERO)
    }

    /// Finds out how many steps a server has, and goes on from there. How many of the acknowledged ones are gone.
    ///
    /// # Errors
    /// Steps are missing that had to be safe, or the state is none that ever was.
    pub fn compare(&mut self, client: &mut Client, killed: Instant, grace: Duration) -> Outcome<usize> {
        let safe = self.safe_steps(killed, grace);
        self.compare_from(client, safe, self.acknowledged_by(killed))
    }

    /// As [`History::compare`], when it is known how many steps had to be safe.
    ///
    /// # Errors
    /// See [`History::compare`].
    pub fn compare_from(&mut self, client: &mut Client, safe: usize, acknowledged: usize) -> Outcome<usize> {
        let number = self.client;
        let found = self.model.ask(client).ok_or("the server does not answer")?;
        let matching = self.find(&found, safe, self.done.len()).or_else(|| self.find(&found, 0, safe));
        match matching {
            Some(steps) if steps >= safe => {
                self.done.truncate(steps);
                self.model = self.after(steps);
                Ok(acknowledged.saturating_sub(steps))
            }
            Some(steps) => Err(format!(
                "client {number}: the first {safe} of {} steps had to be safe, but only {steps} are there; missing first: {:?}",
                self.done.len(),
                self.done[steps].step.0
            )),
            None => Err(self.strange_state(safe, &found)),
        }
    }

    /// The first number of steps in these bounds after which the keys are as described.
    fn find(&self, described: &str, from: usize, to: usize) -> Option<usize> {
        let mut model = self.after(from);
        for steps in from..=to {
            if model.describe() == described {
                return Some(steps);
            }
            model.apply(&self.done.get(steps)?.step);
        }
        None
    }

    fn after(&self, steps: usize) -> Model {
        let mut model = self.model.clone_empty();
        self.done[..steps].iter().for_each(|done| model.apply(&done.step));
        model
    }

    /// The state is not that after any number of steps: how it differs from the nearest.
    fn strange_state(&self, safe: usize, found: &str) -> String {
        let mut model = self.model.clone_empty();
        let mut nearest = (usize::MAX, 0, String::new());
        for steps in 0..=self.done.len() {
            let described = model.describe();
            let differing = lines_only_in(&described, found).len() + lines_only_in(found, &described).len();
            if differing < nearest.0 {
                nearest = (differing, steps, described);
            }
            match self.done.get(steps) {
                Some(done) => model.apply(&done.step),
                None => break,
            }
        }
        let (_, steps, expected) = nearest;
        let show = |one: &str, other: &str| -> String {
            let lines = lines_only_in(one, other);
            lines.iter().take(4).map(|line| format!("    {}\n", without_filling(line))).collect()
        };
        format!(
            "client {}: the keys hold what they never held together. Nearest is the state after {steps} of {} steps, of which \
             {safe} had to be there,\n  expected:\n{}  found:\n{}",
            self.client,
            self.done.len(),
            show(&expected, found),
            show(found, &expected)
        )
    }
}

fn lines_only_in<'a>(one: &'a str, other: &str) -> Vec<&'a str> {
    one.lines().filter(|line| !other.lines().any(|of| of == *line)).collect()
}

/// Values are filled up with the same letter, which tells nothing.
fn without_filling(line: &str) -> String {
    line.chars().filter(|&character| character != 'x').collect()
}

/// Sends what takes effect together; false when the server is gone.
fn send(client: &mut Client, step: &Step) -> Outcome<bool> {
    let is_transaction = step.0.len() > 1;
    let begin = [vec!["MULTI".to_owned()]];
    let end = [vec!["EXEC".to_owned()]];
    let commands = if is_transaction {
        begin.iter().chain(&step.0).chain(&end).collect::<Vec<_>>()
    } else {
        step.0.iter().collect()
    };
    for words in commands {
        let Some(reply) = client.call(words) else { return Ok(false) };
        // Groups that are there already, or streams that are not, change nothing.
        let error =
            reply.as_error().filter(|error| !error.starts_with("BUSYGROUP") && !error.starts_with("NOGROUP"));
        if let Some(error) = error {
            return Err(format!("{words:?} was answered with an error: {error}"));
        }
    }
    Ok(true)
}

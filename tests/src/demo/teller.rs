//! Says what the demo is doing: a spinner with the running step on a terminal, plain lines elsewhere.
//!
//! With `--json` standard output belongs to the summary, and the story goes to standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// Where the story goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Standard output.
    Output,
    /// Standard error, because standard output is read by a program.
    Errors,
}

/// Tells the story.
#[derive(Debug)]
pub struct Teller {
    stage: Stage,
    bar: Option<ProgressBar>,
    step: Option<(String, Instant)>,
}

impl Teller {
    /// A teller who has said nothing yet.
    pub fn new(stage: Stage) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar
        });
        Self { stage, bar, step: None }
    }

    /// A heading.
    pub fn chapter(&mut self, title: &str) {
        self.finish_step();
        self.line(&format!("\n{title}"));
    }

    /// A step begins; the one before is done.
    pub fn step(&mut self, text: &str) {
        self.finish_step();
        self.step = Some((text.to_owned(), Instant::now()));
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(text.to_owned());
                bar.enable_steady_tick(TICK);
            }
            None => self.line(&format!("  … {text}")),
        }
    }

    /// What is the case inside the running step.
    pub fn detail(&self, text: &str) {
        if let (Some(bar), Some((step, _))) = (&self.bar, &self.step) {
            bar.set_message(format!("{step}: {text}"));
        }
    }

    /// A fact that came out of the running step.
    pub fn fact(&mut self, text: &str) {
        self.finish_step();
        self.line(&format!("    {text}"));
    }

    /// Plain text.
    pub fn text(&mut self, text: &str) {
        self.finish_step();
        self.line(text);
    }

    /// The running step failed; it is left as it stands.
    pub fn give_up(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some((step, _)) = self.step.take() {
            self.line(&format!("  ✗ {step}"));
        }
    }

    fn finish_step(&mut self) {
        if let Some((step, since)) = self.step.take() {
            if let Some(bar) = &self.bar {
                bar.disable_steady_tick();
            }
            self.line(&format!("  ✓ {step} ({:.1} s)", since.elapsed().as_secs_f64()));
        }
    }

    fn line(&self, text: &str) {
        let write = || match self.stage {
            // A reader that went away must not end the demo.
            Stage::Output => drop(writeln!(io::stdout(), "{text}")),
            Stage::Errors => drop(writeln!(io::stderr(), "{text}")),
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

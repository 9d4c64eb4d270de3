//! Printing for people on a terminal and for programs in a pipe.

use std::io::{BufRead, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::app::StartError;

/// A progress bar on a terminal, one line for each step otherwise. Both go to stderr, so that
/// stdout stays clean for data.
pub struct Progress {
    bar: Option<ProgressBar>,
    label: &'static str,
}

impl Progress {
    pub fn new(total: u64, label: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}");
            let bar = ProgressBar::new(total).with_prefix(label);
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar
        });
        Progress { bar, label }
    }

    /// The next step begins.
    pub fn step(&self, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(message.to_owned());
                bar.inc(1);
            }
            None => eprintln!("{}: {message}", self.label),
        }
    }

    /// Moves to a position; a pipe hears every thousandth.
    pub fn set(&self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if done.is_multiple_of(1000) => eprintln!("{}: {done}", self.label),
            None => {}
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

pub fn print_json(value: &impl Serialize) {
    say(serde_json::to_string_pretty(value).unwrap_or_default());
}

/// One line on stdout. A reader that has seen enough, such as `head`, is no fault.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Does a person look at stdout?
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// What users and mail servers wrote must not steer a terminal.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// At most `width` columns, on a terminal; a pipe gets everything.
pub fn shortened(text: &str, width: usize) -> String {
    if !is_terminal() || text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= width
    });
    kept.chain(['…']).collect()
}

/// Aligns columns for people.
pub fn print_table(head: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let mut widths: Vec<usize> = head.iter().map(|h| h.width()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut out = std::io::stdout().lock();
    let mut line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(c, w)| format!("{c}{}", " ".repeat(w - c.width())))
            .collect();
        let _ = writeln!(out, "{}", padded.join("  ").trim_end());
    };
    line(&head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
}

/// Asks on a terminal. Without one, only `--yes` will do.
///
/// # Errors
/// There is nobody to ask.
pub fn confirm(yes: bool, question: &str) -> Result<bool, StartError> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(StartError::Refused(format!(
            "{question}. Without a terminal, say --yes"
        )));
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|e| StartError::Other(e.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// One line from a terminal.
///
/// # Errors
/// There is nobody to ask; `remedy` says what to give instead.
pub fn prompt(label: &str, remedy: &str) -> Result<String, StartError> {
    if !std::io::stdin().is_terminal() {
        return Err(StartError::Refused(remedy.to_owned()));
    }
    eprint!("{label}: ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|e| StartError::Other(e.to_string()))?;
    Ok(answer.trim().to_owned())
}

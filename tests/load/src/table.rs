//! The result: one row for each figure.

use std::fmt;

/// Whether a target was met. Nothing depends on it: it is only printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Yes,
    No,
    /// For comparison; no target.
    Info,
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    pub figure: String,
    pub measured: String,
    pub against: String,
    pub target: String,
    pub met: Met,
}

impl Row {
    /// `measured / bare` in percent.
    pub fn ratio(figure: impl Into<String>, measured: f64, bare: f64, target: f64, unit: &str) -> Self {
        let percent = measured / bare * 100.0;
        Row {
            figure: figure.into(),
            measured: format!("{measured:.0}{unit} = {percent:.0} %"),
            against: format!("{bare:.0}{unit}"),
            target: format!(">= {target:.0} %"),
            met: if percent >= target { Met::Yes } else { Met::No },
        }
    }

    pub fn at_least(figure: impl Into<String>, measured: f64, target: f64, unit: &str) -> Self {
        Row {
            figure: figure.into(),
            measured: format!("{measured:.0}{unit}"),
            against: String::new(),
            target: format!(">= {target:.0}{unit}"),
            met: if measured >= target { Met::Yes } else { Met::No },
        }
    }

    pub fn at_most(figure: impl Into<String>, measured: f64, target: f64, unit: &str) -> Self {
        Row {
            figure: figure.into(),
            measured: format!("{measured:.1}{unit}"),
            against: String::new(),
            target: format!("<= {target:.0}{unit}"),
            met: if measured <= target { Met::Yes } else { Met::No },
        }
    }

    /// A count of what must not be.
    pub fn none(figure: impl Into<String>, measured: u64) -> Self {
        Row {
            figure: figure.into(),
            measured: measured.to_string(),
            against: String::new(),
            target: "0".to_owned(),
            met: if measured == 0 { Met::Yes } else { Met::No },
        }
    }

    /// `measured / peer` in percent, without a target.
    pub fn beside(figure: impl Into<String>, measured: f64, peer: f64, unit: &str) -> Self {
        Row {
            target: String::new(),
            met: Met::Info,
            ..Row::ratio(figure, measured, peer, 0.0, unit)
        }
    }

    pub fn info(figure: impl Into<String>, measured: impl Into<String>) -> Self {
        Row {
            figure: figure.into(),
            measured: measured.into(),
            against: String::new(),
            target: String::new(),
            met: Met::Info,
        }
    }
}

/// All rows of a run.
#[derive(Debug, Default)]
pub struct Table(pub Vec<Row>);

impl Table {
    /// Keeps a row and shows it at once, because a run takes minutes.
    pub fn add(&mut self, row: Row) {
        println!(
            "  {:<58} {:<22} {:<12} {}",
            row.figure, row.measured, row.against, row.target
        );
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| figure | measured | bare / peer | target | |\n|---|---|---|---|---|"
        )?;
        for row in &self.0 {
            let met = match row.met {
                Met::Yes => "met",
                Met::No => "MISSED",
                Met::Info => "",
            };
            let Row {
                figure,
                measured,
                against,
                target,
                ..
            } = row;
            writeln!(f, "| {figure} | {measured} | {against} | {target} | {met} |")?;
        }
        Ok(())
    }
}

//! Asking for what a command needs. Passwords come from a terminal without echo, from standard
//! input, or from a variable; never from the command line, where every user of the machine and the
//! shell's history would see them.

use std::io::{BufRead, IsTerminal, Read};

use secrecy::{ExposeSecret, SecretString};
use yunque_accounts::values::Password;
use yunque_kernel::Text;

use super::output;
use crate::app::StartError;

/// A slip of the finger is asked again; a script that feeds nonsense ends.
const TRIES: usize = 3;
/// More than any password that is accepted.
const MAX_LINE: u64 = 4096;

/// A value that was given, or that a person types. `label` is the field's name.
///
/// # Errors
/// Nothing was given and nobody can be asked, or the value is not valid.
pub fn value(
    label: &str,
    given: Option<String>,
    remedy: &str,
    check: impl Fn(&str) -> Result<(), Text>,
) -> Result<String, StartError> {
    let refused = |fault: Text| StartError::Refused(format!("{label}: {}", fault.en));
    if let Some(text) = given {
        check(&text).map_err(refused)?;
        return Ok(text);
    }
    let mut last = None;
    for _ in 0..TRIES {
        let text = output::prompt(label, &format!("{label}: not given. {remedy}"))?;
        match check(&text) {
            Ok(()) => return Ok(text),
            Err(fault) => {
                eprintln!("{label}: {}", fault.en);
                last = Some(fault);
            }
        }
    }
    Err(last.map_or_else(|| StartError::Refused(format!("{label}: not given")), refused))
}

/// A new password: from standard input when asked for, else `given`, else typed twice.
///
/// # Errors
/// As [`value`].
pub fn new_password(
    from_stdin: bool,
    given: Option<String>,
    remedy: &str,
) -> Result<SecretString, StartError> {
    let given = if from_stdin && !std::io::stdin().is_terminal() {
        Some(first_line(&mut std::io::stdin().lock())?)
    } else {
        given.map(SecretString::from)
    };
    if let Some(password) = given {
        return match Password::parse(password.expose_secret()) {
            Ok(_) => Ok(password),
            Err(fault) => Err(StartError::Refused(format!("password: {}", fault.en))),
        };
    }
    if !std::io::stdin().is_terminal() {
        return Err(StartError::Refused(format!("password: not given. {remedy}")));
    }
    for _ in 0..TRIES {
        let password = hidden("password: ")?;
        if let Err(fault) = Password::parse(password.expose_secret()) {
            eprintln!("password: {}", fault.en);
            continue;
        }
        if hidden("password again: ")?.expose_secret() == password.expose_secret() {
            return Ok(password);
        }
        eprintln!("password: the two are not the same");
    }
    Err(StartError::Refused("password: not given".to_owned()))
}

fn hidden(prompt: &str) -> Result<SecretString, StartError> {
    let text = rpassword::prompt_password(prompt).map_err(|e| StartError::Other(format!("terminal: {e}")))?;
    Ok(SecretString::from(text))
}

/// The first line without its end; blanks belong to the password.
fn first_line(input: &mut impl BufRead) -> Result<SecretString, StartError> {
    let mut line = String::new();
    input
        .take(MAX_LINE)
        .read_line(&mut line)
        .map_err(|e| StartError::Other(format!("password: standard input: {e}")))?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(StartError::Refused(
            "password: standard input is empty".to_owned(),
        ));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_on_standard_input_is_one_line_with_its_blanks() {
        let read = |text: &str| first_line(&mut text.as_bytes()).map(|p| p.expose_secret().to_owned());
        for (text, want) in [
            ("correct horse\n", "correct horse"),
            ("correct horse\r\n", "correct horse"),
            ("  blanks stay  \nsecond line\n", "  blanks stay  "),
            ("no newline", "no newline"),
        ] {
            assert_eq!(read(text).expect("given"), want);
        }
        assert!(read("").is_err() && read("\n").is_err());
    }
}

//! The inside of a JSON string, piece by piece.

/// What a piece brought the string to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on in the next piece.
    Open,
    /// Its closing quote came.
    Closed,
    /// This is no JSON string.
    Broken,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Plain,
    /// After a backslash.
    Escape,
    /// Inside the four digits after `\u`; `high` is the surrogate that came before it.
    Hex {
        left: u8,
        value: u16,
        high: Option<u16>,
    },
    /// After a high surrogate: `\` must follow.
    Pair(u16),
    /// And then `u`.
    PairEscape(u16),
}

/// Resolves escapes; may be stopped and continued at any byte. Strict as the parser of the rest:
/// no raw control characters, no lone surrogates. UTF-8 is left to the caller.
#[derive(Debug)]
pub(super) struct Unescape {
    state: State,
    forbidden: bool,
}

impl Unescape {
    pub fn new() -> Self {
        Unescape {
            state: State::Plain,
            forbidden: false,
        }
    }

    /// Did an escape stand for a character that texts may not have?
    pub fn has_forbidden(&self) -> bool {
        self.forbidden
    }

    /// Adds to `out` what the bytes stand for. Tells how many of them were used: all, unless the
    /// string ended before.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Step) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if let State::Plain = self.state {
                let plain = bytes[at..]
                    .iter()
                    .position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
                let end = plain.map_or(bytes.len(), |n| at + n);
                out.extend_from_slice(&bytes[at..end]);
                let Some(special) = bytes.get(end) else { break };
                at = end + 1;
                match special {
                    b'"' => return (at, Step::Closed),
                    b'\\' => self.state = State::Escape,
                    _ => return (at, Step::Broken),
                }
                continue;
            }
            at += 1;
            match self.escaped(byte, out) {
                Some(next) => self.state = next,
                None => return (at, Step::Broken),
            }
        }
        (bytes.len(), Step::Open)
    }

    /// One byte of an escape.
    fn escaped(&mut self, byte: u8, out: &mut Vec<u8>) -> Option<State> {
        match (self.state, byte) {
            (State::Escape, b'u') => Some(State::Hex {
                left: 4,
                value: 0,
                high: None,
            }),
            (State::Escape, _) => {
                let meant = match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' | b'f' => {
                        self.forbidden = true;
                        b' '
                    }
                    _ => return None,
                };
                out.push(meant);
                Some(State::Plain)
            }
            (State::Pair(high), b'\\') => Some(State::PairEscape(high)),
            (State::PairEscape(high), b'u') => Some(State::Hex {
                left: 4,
                value: 0,
                high: Some(high),
            }),
            (State::Hex { left, value, high }, _) => {
                let digit = char::from(byte).to_digit(16)?;
                let value = value << 4 | digit as u16;
                match left {
                    1 => self.unit(value, high, out),
                    _ => Some(State::Hex {
                        left: left - 1,
                        value,
                        high,
                    }),
                }
            }
            _ => None,
        }
    }

    /// The four digits after `\u`, whole.
    fn unit(&mut self, unit: u16, high: Option<u16>, out: &mut Vec<u8>) -> Option<State> {
        if high.is_none() && (0xd800..0xdc00).contains(&unit) {
            return Some(State::Pair(unit));
        }
        let units = [high.unwrap_or(unit), unit];
        let units = if high.is_some() { &units[..] } else { &units[..1] };
        let character = char::decode_utf16(units.iter().copied()).next()?.ok()?;
        if character < ' ' && !matches!(character, '\n' | '\t' | '\r') {
            self.forbidden = true;
        }
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Some(State::Plain)
    }
}

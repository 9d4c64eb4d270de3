//! Accounts that come from another system, one JSON object a line, with the password hashes that they had there.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use serde::{Deserialize, Serialize};
use serde_json::json;
use yunque_kernel::auth::{DjangoHash, Passwords, UserType};
use yunque_kernel::error::Text;
use yunque_kernel::{DbError, Tx};

use crate::Accounts;
use crate::entity::user::Column;
use crate::error::AccountsError;
use crate::repo::security;
use crate::repo::users::{self, EMAIL_KEY, NewUser, TakenRow, USERNAME_KEY};
use crate::values::{DisplayName, Email, Phone, Username};

/// No password equals it.
const UNUSABLE: &str = "!";

/// How an import is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// Says what would happen, and writes nothing.
    pub dry_run: bool,
    /// Administrators are accepted.
    pub allow_staff: bool,
}

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
pub struct ImportReport {
    pub created: u64,
    /// An account with this user name and this address is here already; it stays as it is.
    pub present: u64,
    pub refused: Vec<ImportFault>,
}

/// A line that made no account.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ImportFault {
    /// From 1.
    pub line: u64,
    pub reason: String,
}

/// A line as it is written. An unknown field is a fault: what it says would be lost silently.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    username: String,
    email: String,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default = "yes")]
    is_active: bool,
    #[serde(default)]
    is_staff: bool,
    #[serde(default)]
    is_verified: bool,
    #[serde(default)]
    date_joined: Option<String>,
    #[serde(default)]
    last_login: Option<String>,
}

fn yes() -> bool {
    true
}

/// Somebody who may come in, if his name and address are free.
#[derive(Clone)]
struct Person {
    line: u64,
    new: NewUser,
    is_active: bool,
    date_joined: Option<DateTime<Utc>>,
    last_login: Option<DateTime<Utc>>,
}

/// What became of a person.
enum Outcome {
    Created,
    Present,
    Refused(String),
}

/// An import in progress.
pub struct Import {
    accounts: Accounts,
    options: ImportOptions,
    names: HashSet<String>,
    addresses: HashSet<String>,
    report: ImportReport,
}

impl Accounts {
    /// Begins an import. Batches are given to [`Import::add`]; what was added stays if a later one fails, and
    /// the same file may be given again.
    pub fn import(&self, options: ImportOptions) -> Import {
        Import {
            accounts: self.clone(),
            options,
            names: HashSet::new(),
            addresses: HashSet::new(),
            report: ImportReport::default(),
        }
    }
}

impl Import {
    /// Numbered lines, in one transaction. Blank ones are passed over.
    ///
    /// # Errors
    /// Only the database's; then none of these lines made an account.
    pub async fn add(&mut self, lines: &[(u64, Vec<u8>)]) -> Result<(), AccountsError> {
        let mut people = Vec::with_capacity(lines.len());
        for (line, bytes) in lines {
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            match self.read(*line, bytes) {
                Ok(person) => people.push(person),
                Err(reason) => self.refuse(*line, reason),
            }
        }
        let slowest = people
            .iter()
            .filter_map(|person| iterations(&person.new.password_hash));
        let slowest = slowest.max().unwrap_or(0);
        if !self.options.dry_run && slowest > 0 {
            self.accounts.note_imported(slowest).await?;
        }
        match self.write(people.clone()).await {
            Ok(outcomes) => self.count(&people, outcomes),
            // Somebody registered one of the names meanwhile; the next look finds it.
            Err(AccountsError::Db(e)) if e.is_unique(USERNAME_KEY) || e.is_unique(EMAIL_KEY) => {
                for person in people {
                    let alone = vec![person];
                    let outcomes = match self.write(alone.clone()).await {
                        Err(AccountsError::Db(e)) if e.is_unique(USERNAME_KEY) || e.is_unique(EMAIL_KEY) => {
                            self.write(alone.clone()).await?
                        }
                        outcomes => outcomes?,
                    };
                    self.count(&alone, outcomes);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What became of all lines.
    pub fn finish(mut self) -> ImportReport {
        self.report.refused.sort_unstable_by_key(|fault| fault.line);
        self.report
    }

    fn refuse(&mut self, line: u64, reason: String) {
        self.report.refused.push(ImportFault { line, reason });
    }

    fn count(&mut self, people: &[Person], outcomes: Vec<Outcome>) {
        for (person, outcome) in people.iter().zip(outcomes) {
            match outcome {
                Outcome::Created => self.report.created += 1,
                Outcome::Present => self.report.present += 1,
                Outcome::Refused(reason) => self.refuse(person.line, reason),
            }
        }
    }

    /// A line by itself, and against those before it.
    fn read(&mut self, line: u64, bytes: &[u8]) -> Result<Person, String> {
        let read: Line = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let named = |field: &'static str| move |text: Text| format!("{field}: {}", text.en);
        let username = Username::parse(&read.username).map_err(named("username"))?;
        let email = Email::parse(&read.email).map_err(named("email"))?;
        let text = |field, text: &str| {
            let parsed = DisplayName::parse(text).map_err(named(field))?;
            Ok::<_, String>(parsed)
        };
        if read.is_staff && !self.options.allow_staff {
            return Err("is_staff: administrators need --allow-staff".to_owned());
        }
        let password_hash = hash(read.password.as_deref().unwrap_or_default())?;
        let person = Person {
            line,
            new: NewUser {
                display_name: text("display_name", &read.display_name)?.or_username(username.as_str()),
                name: String::new(),
                first_name: text("first_name", &read.first_name)?.into_string(),
                last_name: text("last_name", &read.last_name)?.into_string(),
                phone: Phone::parse(read.phone.as_deref().unwrap_or_default())
                    .map_err(named("phone"))?
                    .into_option(),
                password_hash,
                user_type: if read.is_staff {
                    UserType::Admin
                } else {
                    UserType::Customer
                },
                parent: None,
                is_verified: read.is_verified,
                username: username.clone(),
                email: email.clone(),
            },
            is_active: read.is_active,
            date_joined: self.moment("date_joined", read.date_joined)?,
            last_login: self.moment("last_login", read.last_login)?,
        };
        if !self.names.insert(username.key().to_owned()) {
            return Err("username: an earlier line has it".to_owned());
        }
        if !self.addresses.insert(email.key().to_owned()) {
            return Err("email: an earlier line has it".to_owned());
        }
        Ok(person)
    }

    fn moment(&self, field: &str, text: Option<String>) -> Result<Option<DateTime<Utc>>, String> {
        let Some(text) = text else { return Ok(None) };
        let parsed = DateTime::parse_from_rfc3339(&text)
            .map_err(|_| format!("{field}: not a moment such as 2024-01-31T08:00:00Z"))?
            .to_utc();
        if parsed.timestamp() < 0 || parsed > self.accounts.now() {
            return Err(format!("{field}: before 1970 or in the future"));
        }
        Ok(Some(parsed))
    }

    async fn write(&self, people: Vec<Person>) -> Result<Vec<Outcome>, AccountsError> {
        if people.is_empty() {
            return Ok(Vec::new());
        }
        if self.options.dry_run {
            let taken = users::list_taken(self.accounts.0.ctx.db.reader(), keys(&people)).await?;
            return Ok(people.iter().map(|person| meet(person, &taken)).collect());
        }
        let accounts = self.accounts.clone();
        let written = self.accounts.0.ctx.db.write("import_users", move |tx: Tx| {
            let (accounts, people) = (accounts.clone(), people.clone());
            async move {
                let taken = users::list_taken(&tx, keys(&people)).await?;
                let mut outcomes = Vec::with_capacity(people.len());
                for person in people {
                    let outcome = meet(&person, &taken);
                    if matches!(outcome, Outcome::Created) {
                        insert(&tx, person, accounts.now()).await?;
                    }
                    outcomes.push(outcome);
                }
                Ok::<_, AccountsError>(outcomes)
            }
        });
        written.await
    }
}

fn keys(people: &[Person]) -> (Vec<String>, Vec<String>) {
    people
        .iter()
        .map(|person| {
            (
                person.new.username.key().to_owned(),
                person.new.email.key().to_owned(),
            )
        })
        .unzip()
}

/// What becomes of somebody beside those who are here.
fn meet(person: &Person, taken: &[TakenRow]) -> Outcome {
    let named = taken
        .iter()
        .find(|row| row.username_key == person.new.username.key());
    let addressed = taken.iter().find(|row| row.email_key == person.new.email.key());
    match (named, addressed) {
        (None, None) => Outcome::Created,
        (Some(named), Some(addressed)) if named.id == addressed.id => Outcome::Present,
        (Some(_), None) => Outcome::Refused("username: another account has it".to_owned()),
        (None, Some(_)) => Outcome::Refused("email: another account has it".to_owned()),
        (Some(_), Some(_)) => Outcome::Refused("username, email: other accounts have them".to_owned()),
    }
}

async fn insert(tx: &Tx, person: Person, now: DateTime<Utc>) -> Result<(), DbError> {
    let Person {
        new,
        is_active,
        date_joined,
        last_login,
        ..
    } = person;
    let data = json!({ "user_type": new.user_type.as_str(), "by": "import" });
    let id = users::insert(tx, new, date_joined.unwrap_or(now)).await?;
    let mut changes = vec![(Column::LastLogin, Expr::value(last_login))];
    if !is_active {
        changes.push((Column::IsActive, Expr::value(false)));
    }
    users::update(tx, id, changes, now).await?;
    security::insert_event(tx, Some(id), "account_created", None, &data, now).await
}

/// The stored form of a password hash: ours or Django's. Nothing, or an unusable one, makes an account whose owner has to
/// reset his password first.
fn hash(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('!') {
        return Ok(UNUSABLE.to_owned());
    }
    // Django writes the name of the algorithm before the text of the hash.
    let stored = text
        .strip_prefix("argon2$")
        .map_or_else(|| text.to_owned(), |rest| format!("${rest}"));
    if Passwords::understands(&stored) {
        return Ok(stored);
    }
    Err(
        "password: neither pbkdf2_sha256$… nor an Argon2 hash; leave it out to have the owner reset it"
            .to_owned(),
    )
}

fn iterations(stored: &str) -> Option<u32> {
    DjangoHash::parse(stored).map(|hash| hash.iterations)
}

//! Who is calling: the parameters that make an operation require credentials.
//!
//! `Caller` takes a JWT or an API key, `SessionCaller` a JWT only (403 for keys: they never reach
//! credentials, tokens, sessions or keys). Both find the [`Authenticate`] and the [`ScopeTable`] in
//! the request's data, where the composition root puts them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use poem::http::header::AUTHORIZATION;
use poem::http::{HeaderMap, HeaderName, Method};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::api_key::{Scopes, looks_like_key};
use crate::error::{ApiError, common};
use crate::http::{RequestInfo, charge_user};
use crate::ids::{SessionId, UserId};

const BEARER: &str = "BearerAuth";
const API_KEY: &str = "ApiKeyAuth";
const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// The kind of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserType {
    Admin,
    Editor,
    AgentL1,
    AgentL2,
    Customer,
}

impl UserType {
    pub fn as_str(self) -> &'static str {
        match self {
            UserType::Admin => "admin",
            UserType::Editor => "editor",
            UserType::AgentL1 => "agent_l1",
            UserType::AgentL2 => "agent_l2",
            UserType::Customer => "customer",
        }
    }

    /// The stored word; anything unknown has the least rights.
    pub fn from_stored(text: &str) -> Self {
        match text {
            "admin" => UserType::Admin,
            "editor" => UserType::Editor,
            "agent_l1" => UserType::AgentL1,
            "agent_l2" => UserType::AgentL2,
            _ => UserType::Customer,
        }
    }

    pub fn is_agent(self) -> bool {
        matches!(self, UserType::AgentL1 | UserType::AgentL2)
    }
}

impl fmt::Display for UserType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The API key that a request came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRef {
    pub id: i64,
    pub scopes: Arc<Scopes>,
}

/// An authenticated principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: UserId,
    pub username: Arc<str>,
    /// Admin rights. With an API key only if the key names the scope `staff`.
    pub is_staff: bool,
    pub user_type: UserType,
    /// Set for a JWT.
    pub session: Option<SessionId>,
    /// Set for an API key.
    pub key: Option<ApiKeyRef>,
}

impl Caller {
    /// # Errors
    /// 403 unless the caller has admin rights.
    pub fn require_staff(&self) -> Result<(), ApiError> {
        if self.is_staff {
            Ok(())
        } else {
            Err(common::PERMISSION_DENIED.into())
        }
    }

    /// The session of a JWT.
    ///
    /// # Errors
    /// 403 `api_key_not_allowed` for an API key.
    pub fn require_session(&self) -> Result<SessionId, ApiError> {
        self.session.ok_or_else(|| common::API_KEY_NOT_ALLOWED.into())
    }
}

/// A principal with a JWT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCaller {
    pub caller: Caller,
    pub session: SessionId,
}

impl std::ops::Deref for SessionCaller {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// Answers whose credentials these are. Implemented by the accounts domain; errors are ready for
/// the client: 401 for bad credentials, 503 when the database does not answer.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    async fn jwt(&self, token: &str) -> Result<Caller, ApiError>;

    /// The same, and when the token ends by itself, in Unix seconds. For sockets, which outlive the
    /// request they came with.
    async fn jwt_until(&self, token: &str) -> Result<(Caller, i64), ApiError>;

    /// `ip` is remembered as the key's last place of use.
    async fn api_key(&self, key: &str, ip: IpAddr) -> Result<Caller, ApiError>;

    /// Whether [`Authenticate::jwt`] can have another answer than 401, without asking anybody: the
    /// signature and the time. For those who make others wait before they ask.
    ///
    /// # Errors
    /// 401.
    fn jwt_at_a_glance(&self, token: &str) -> Result<(), ApiError>;

    /// The same of an API key, which has nothing but a form.
    ///
    /// # Errors
    /// 401.
    fn api_key_at_a_glance(&self, key: &str) -> Result<(), ApiError>;
}

/// Which scope module a path belongs to, by its longest matching prefix.
#[derive(Clone, Debug, Default)]
pub struct ScopeTable(Arc<[(String, &'static str)]>);

impl ScopeTable {
    /// Prefixes are whole path segments: `/file` covers `/file` and `/file/1`, not `/files`.
    pub fn new(prefixes: &[(&str, &'static str)]) -> Self {
        let mut table: Vec<_> = prefixes
            .iter()
            .map(|(p, module)| (p.trim_end_matches('/').to_owned(), *module))
            .collect();
        table.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        ScopeTable(table.into())
    }

    pub fn module_of(&self, path: &str) -> Option<&'static str> {
        let covers = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0
            .iter()
            .find(|(prefix, _)| covers(prefix))
            .map(|(_, module)| *module)
    }
}

/// The credentials of a request, as they stand in its headers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Presented<'a> {
    jwt: Option<&'a str>,
    key: Option<&'a str>,
}

fn presented(headers: &HeaderMap) -> Result<Presented<'_>, ApiError> {
    let single = |name: &HeaderName| -> Result<Option<&str>, ApiError> {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| common::TOKEN_INVALID.into()),
            // Two of them: whoever looks at the other one would see somebody else.
            (Some(_), Some(_)) => Err(common::TOKEN_INVALID.into()),
        }
    };
    let mut found = Presented {
        jwt: None,
        key: single(&API_KEY_HEADER)?,
    };
    if let Some(value) = single(&AUTHORIZATION)? {
        let (scheme, token) = value.trim().split_once(' ').unwrap_or((value, ""));
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return Err(common::TOKEN_INVALID.into());
        }
        match (looks_like_key(token), found.key) {
            (false, _) => found.jwt = Some(token),
            (true, None) => found.key = Some(token),
            (true, Some(other)) if other == token => {}
            (true, Some(_)) => return Err(common::TOKEN_INVALID.into()),
        }
    }
    if found == Presented::default() {
        Err(common::NOT_AUTHENTICATED.into())
    } else {
        Ok(found)
    }
}

async fn authenticate(request: &Request) -> Result<Caller, ApiError> {
    let found = presented(request.headers())?;
    let authenticator = request
        .data::<Arc<dyn Authenticate>>()
        .ok_or_else(|| ApiError::internal("no Authenticate is in the request's data"))?;
    let info = request.data::<RequestInfo>();
    let caller = match found {
        Presented {
            jwt: Some(token),
            key,
        } => {
            let caller = authenticator.jwt(token).await?;
            if let Some(key) = key {
                let by_key = authenticator.api_key(key, ip_of(info)).await?;
                if by_key.user_id != caller.user_id {
                    return Err(common::TOKEN_INVALID.into());
                }
            }
            caller
        }
        Presented { jwt: None, key } => {
            let key = key.ok_or_else(|| ApiError::from(common::NOT_AUTHENTICATED))?;
            authenticator.api_key(key, ip_of(info)).await?
        }
    };
    charge_user(request, caller.user_id)?;
    Ok(caller)
}

fn ip_of(info: Option<&RequestInfo>) -> IpAddr {
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.client_ip)
}

fn check_scope(caller: &Caller, request: &Request) -> Result<(), ApiError> {
    let Some(key) = &caller.key else { return Ok(()) };
    let path = request.original_uri().path();
    let module = request
        .data::<ScopeTable>()
        .and_then(|table| table.module_of(path));
    let write = !matches!(*request.method(), Method::GET | Method::HEAD);
    if key.scopes.allow(module, write) {
        Ok(())
    } else {
        Err(common::INSUFFICIENT_SCOPE.into())
    }
}

/// Authenticates a request for a WebSocket address that is not a handshake, as any other.
pub(crate) async fn authenticate_plain(request: &Request) -> Result<(), ApiError> {
    let caller = authenticate(request).await?;
    check_scope(&caller, request)
}

fn register_bearer(registry: &mut Registry) {
    registry.create_security_scheme(
        BEARER,
        MetaSecurityScheme {
            ty: "http",
            description: Some("Access token from a login or refresh; an API key is taken as well."),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: Some("JWT"),
            flows: None,
            openid_connect_url: None,
        },
    );
}

fn register_api_key(registry: &mut Registry) {
    registry.create_security_scheme(
        API_KEY,
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some("API key (`ak_…`), limited to its scopes."),
            name: Some("X-API-Key"),
            key_in: Some("header"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        },
    );
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_bearer(registry);
        register_api_key(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, API_KEY]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let caller = authenticate(request).await?;
        check_scope(&caller, request)?;
        Ok(caller)
    }
}

impl<'a> ApiExtractor<'a> for SessionCaller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_bearer(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let caller = authenticate(request).await?;
        let session = caller.require_session()?;
        Ok(SessionCaller { caller, session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(
                HeaderName::try_from(*name).expect("name"),
                value.parse().expect("value"),
            );
        }
        map
    }

    fn read(list: &[(&str, &str)]) -> Result<(Option<String>, Option<String>), &'static str> {
        let headers = headers(list);
        presented(&headers)
            .map(|p| (p.jwt.map(str::to_owned), p.key.map(str::to_owned)))
            .map_err(|e| e.code)
    }

    #[test]
    fn credentials_are_read_from_one_header_each() {
        let (auth, key) = ("authorization", "x-api-key");
        assert_eq!(read(&[]), Err("not_authenticated"));
        assert_eq!(read(&[(auth, "Bearer a.b.c")]), Ok((Some("a.b.c".into()), None)));
        assert_eq!(
            read(&[(auth, "bEARER   a.b.c ")]),
            Ok((Some("a.b.c".into()), None))
        );
        assert_eq!(read(&[(auth, "Bearer ak_1")]), Ok((None, Some("ak_1".into()))));
        assert_eq!(
            read(&[(auth, "Bearer ak_1"), (key, "ak_1")]),
            Ok((None, Some("ak_1".into())))
        );
        assert_eq!(
            read(&[(auth, "Bearer a.b.c"), (key, "ak_1")]),
            Ok((Some("a.b.c".into()), Some("ak_1".into())))
        );
        for bad in ["", "Bearer", "Bearer ", "Basic dTpw", "a.b.c", "Token a.b.c"] {
            assert_eq!(read(&[(auth, bad)]), Err("token_invalid"), "{bad:?}");
        }
        assert_eq!(
            read(&[(auth, "Bearer a"), (auth, "Bearer b")]),
            Err("token_invalid")
        );
        assert_eq!(read(&[(key, "ak_1"), (key, "ak_1")]), Err("token_invalid"));
        assert_eq!(
            read(&[(auth, "Bearer ak_1"), (key, "ak_2")]),
            Err("token_invalid")
        );
    }

    #[test]
    fn the_longest_whole_prefix_names_the_module() {
        let table = ScopeTable::new(&[
            ("/api/v1/users", "users"),
            ("/api/chat", "chat"),
            ("/api/chat/sessions", "agents"),
            ("/file/", "cloud"),
        ]);
        assert_eq!(table.module_of("/file/1/"), Some("cloud"));
        assert_eq!(table.module_of("/file"), Some("cloud"));
        assert_eq!(table.module_of("/files/1"), None);
        assert_eq!(table.module_of("/api/chat/sessions/4/messages/"), Some("agents"));
        assert_eq!(table.module_of("/api/chat/rooms/"), Some("chat"));
        assert_eq!(table.module_of("/unknown"), None);
    }
}

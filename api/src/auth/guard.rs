//! Around every route: who calls, whether they may, and whether they call too often.

use super::principal::{Principal, Proof};
use super::rules::{self, Access, Rule};
use super::sessions::{Alive, Bucket, Entered};
use super::tokens::Disbelief;
use super::{WINDOW, oidc, token_hash};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// No token is longer.
const TOKEN_LIMIT: usize = 8 * 1024;

/// Where a request comes from; also for handlers that count attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CameFrom(pub IpAddr);

/// Lets in whom [`rules`] let in.
pub(crate) async fn guard(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        // Nothing is there; the fallback says so.
        return next.run(request).await;
    };
    let access = match rules::rule(request.method(), path.as_str()) {
        Rule::Found(access) => access,
        Rule::OtherMethod => {
            let allow = rules::methods(path.as_str());
            let mut response = Problem::new(
                Kind::MethodNotAllowed,
                format!("this address takes {allow}"),
            )
            .into_response();
            if let Ok(allow) = HeaderValue::from_str(&allow) {
                response.headers_mut().insert(ALLOW, allow);
            }
            return response;
        }
        Rule::Missing => {
            tracing::error!(path = path.as_str(), "a route has no rule in auth/rules.rs");
            return Problem::new(Kind::Forbidden, "nobody may use this address").into_response();
        }
    };
    let address = address(&state, &request);
    request.extensions_mut().insert(CameFrom(address));
    match admit(&state, access, address, request.headers()).await {
        Ok((principal, counted)) => {
            if let Some(principal) = principal {
                request.extensions_mut().insert(principal);
            }
            let mut response = next.run(request).await;
            if let Some(counted) = counted {
                counted.write(response.headers_mut());
            }
            response
        }
        Err(refused) => refused,
    }
}

/// What was counted, for the `RateLimit` headers.
struct Counted {
    buckets: Vec<Bucket>,
    entered: Entered,
}

impl Counted {
    fn write(&self, headers: &mut HeaderMap) {
        let seconds = WINDOW.as_secs();
        let policies: Vec<String> = self
            .buckets
            .iter()
            .map(|b| format!("\"{}\";q={};w={seconds}", b.name, b.limit))
            .collect();
        let name = self
            .buckets
            .get(self.entered.tightest)
            .map_or("", |b| b.name);
        let state = format!(
            "\"{name}\";r={};t={}",
            self.entered.remaining.max(0),
            u64::try_from(self.entered.reset_ms)
                .unwrap_or(0)
                .div_ceil(1000)
        );
        for (header, value) in [
            ("ratelimit-policy", policies.join(", ")),
            ("ratelimit", state),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(header), value);
            }
        }
    }
}

async fn admit(
    state: &ApiState,
    access: Access,
    address: IpAddr,
    headers: &HeaderMap,
) -> Result<(Option<Principal>, Option<Counted>), Response> {
    let limits = state.auth.limits;
    let bucket = |name, of: String, limit| Bucket {
        name,
        of,
        limit,
        window: WINDOW,
    };
    let by_address = bucket("address", address.to_string(), limits.address);
    let known = match access {
        Access::Probe | Access::Signed => return Ok((None, None)),
        Access::Anyone | Access::Guest => None,
        Access::SignedIn | Access::Roles(_) => {
            let known = identify(state, headers).await;
            // Whoever tries tokens is counted like everybody else.
            match known {
                Ok((principal, alive)) => Some((principal, alive)),
                Err(problem) => {
                    let counted = count(state, &Alive::Nobody, vec![by_address]).await;
                    return Err(match counted {
                        Ok(counted) => with(problem.into_response(), &counted),
                        Err(Refused::Limit(response)) => response,
                        Err(Refused::Down(_) | Refused::Ended(_)) => problem.into_response(),
                    });
                }
            }
        }
    };
    if let Some((principal, _)) = &known
        && principal.proof == Proof::Service
    {
        return check(access, principal.clone())
            .map(|principal| (Some(principal), None))
            .map_err(IntoResponse::into_response);
    }
    let mut buckets = vec![by_address];
    if access == Access::Guest {
        buckets.push(bucket("guest", address.to_string(), limits.guest));
    }
    let alive = match &known {
        None => Alive::Nobody,
        Some((principal, alive)) => {
            buckets.push(bucket("user", principal.user.to_string(), limits.user));
            alive.clone()
        }
    };
    match count(state, &alive, buckets).await {
        Ok(counted) => match known {
            None => Ok((None, Some(counted))),
            Some((principal, _)) => match check(access, principal) {
                Ok(principal) => Ok((Some(principal), Some(counted))),
                Err(problem) => Err(with(problem.into_response(), &counted)),
            },
        },
        // What is open to anybody stays open.
        Err(Refused::Down(_)) if access == Access::Anyone => Ok((None, None)),
        Err(Refused::Down(problem)) => Err(problem.into_response()),
        Err(Refused::Limit(response) | Refused::Ended(response)) => Err(response),
    }
}

fn check(access: Access, principal: Principal) -> Result<Principal, Problem> {
    if rules::admits(access, &principal.roles) {
        return Ok(principal);
    }
    Err(Problem::new(
        Kind::Forbidden,
        "none of your roles may do this",
    ))
}

enum Refused {
    Down(Problem),
    Limit(Response),
    Ended(Response),
}

async fn count(state: &ApiState, alive: &Alive, buckets: Vec<Bucket>) -> Result<Counted, Refused> {
    let entered = state
        .auth
        .sessions
        .enter(alive, &buckets)
        .await
        .map_err(|down| Refused::Down(down.into()))?;
    let counted = Counted { buckets, entered };
    if let Some(wait_ms) = counted.entered.wait_ms {
        let seconds = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000).max(1);
        let problem = Problem::new(
            Kind::TooManyRequests,
            format!("too many requests; one more is free in {seconds} s"),
        );
        return Err(Refused::Limit(with(
            later(problem.into_response(), seconds),
            &counted,
        )));
    }
    if !counted.entered.alive {
        let problem = Problem::new(Kind::Unauthorized, "the session has ended; log in again");
        return Err(Refused::Ended(with(problem.into_response(), &counted)));
    }
    Ok(counted)
}

/// Says when to come back.
pub(crate) fn later(mut response: Response, seconds: u64) -> Response {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn with(mut response: Response, counted: &Counted) -> Response {
    counted.write(response.headers_mut());
    response
}

/// Who says they call, by a token that is good as far as it tells itself.
async fn identify(state: &ApiState, headers: &HeaderMap) -> Result<(Principal, Alive), Problem> {
    let refused = |detail: &str| Problem::new(Kind::Unauthorized, detail);
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let header = all
        .next()
        .ok_or_else(|| refused("send a token: Authorization: Bearer …"))?;
    let token = header
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| token.len() <= TOKEN_LIMIT && all.next().is_none())
        .ok_or_else(|| refused("the Authorization header is not: Bearer …"))?;
    if let Some(service) = state.auth.service.service(token) {
        return Ok((Principal::of_service(service), Alive::Nobody));
    }
    let now = state.now().seconds();
    match state.auth.tokens.verify(token, now) {
        Ok(claims) => Ok((
            Principal::of_claims(&claims),
            Alive::Session(claims.sid.clone()),
        )),
        Err(Disbelief::NotOurs) => match &state.auth.oidc {
            Some(oidc) => outside(oidc, token, now).await,
            None => Err(refused("the token is not known")),
        },
        Err(disbelief) => {
            tracing::info!(%disbelief, "a token was not believed");
            Err(refused("the token is not valid or has expired"))
        }
    }
}

async fn outside(oidc: &oidc::Oidc, token: &str, now: i64) -> Result<(Principal, Alive), Problem> {
    match oidc.verify(token, now).await {
        Ok(outsider) => {
            let name = token_hash(token);
            let alive = Alive::NotRevoked {
                token: name.clone(),
                user: outsider.user,
                issued: outsider.issued,
            };
            let principal = Principal {
                user: outsider.user,
                roles: outsider.roles,
                proof: Proof::Outside {
                    token: name,
                    expires: outsider.expires,
                    email: outsider.email,
                    email_verified: outsider.email_verified,
                },
            };
            Ok((principal, alive))
        }
        Err(oidc::NotTaken::Invalid(why)) => {
            tracing::info!(why, "a token of the issuer was not believed");
            Err(Problem::new(
                Kind::Unauthorized,
                "the token is not valid or has expired",
            ))
        }
        Err(oidc::NotTaken::Unavailable(_)) => Err(Problem::new(
            Kind::IssuerUnavailable,
            "the issuer of the token cannot be asked for its keys for now",
        )),
    }
}

/// The caller's address: the connection's, or what the proxies before us say of it. Each of them
/// appends the address that it was called from, so the one to believe stands that many from the end.
fn address(state: &ApiState, request: &Request) -> IpAddr {
    let connected = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    if state.auth.proxies == 0 {
        return connected;
    }
    let said: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    said.len()
        .checked_sub(state.auth.proxies)
        .and_then(|index| said.get(index)?.parse().ok())
        .unwrap_or(connected)
}

//! `/apis/nslab.dev/v1alpha1/dns-query`: a DNS query as it is on the wire, for the machine's resolver, in the way of
//! RFC 8484. The lab's DNS server asks here for names that are not the lab's.

use std::future::Future;
use std::pin::Pin;

use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};

use super::body::{self, Body};
use super::respond;
use super::serve::Call;
use super::status::ApiError;

const MESSAGE: &str = "application/dns-message";
/// The longest that a DNS message can be.
const LONGEST: usize = 65535;

/// Finds the reply to a query, or says why there is none.
pub type Resolve = Box<dyn Fn(Vec<u8>) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> + Send + Sync>;

pub async fn post(call: Call) -> Result<Response<Body>, ApiError> {
    if call.header(CONTENT_TYPE.as_str()) != MESSAGE {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("the body of the request must be a DNS message ({MESSAGE})"),
        ));
    }
    let query = body::read(call.request.into_body()).await?;
    if query.len() > LONGEST {
        return Err(ApiError::too_large(LONGEST));
    }
    let answer = (call.api.resolve)(query.to_vec()).await;
    let failed = |why| ApiError::new(StatusCode::BAD_GATEWAY, "BadGateway", why);
    Ok(respond::with_type(StatusCode::OK, MESSAGE, answer.map_err(failed)?))
}

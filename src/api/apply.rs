//! stub
use super::{body::Body, serve::Call, status::ApiError};
use hyper::Response;
pub struct Applied;
pub struct Change;
pub async fn post(_call: Call) -> Result<Response<Body>, ApiError> {
    Err(ApiError::method_not_allowed())
}

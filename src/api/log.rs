//! stub
use super::{body::Body, route::Target, serve::Call, status::ApiError};
use hyper::Response;
pub fn get(_target: Target, _call: Call) -> Result<Response<Body>, ApiError> {
    Err(ApiError::method_not_allowed())
}

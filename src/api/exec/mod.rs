//! stub
use super::{body::Body, route::Target, serve::Call, status::ApiError};
use hyper::Response;
pub fn exec(_target: Target, _call: Call) -> Result<Response<Body>, ApiError> {
    Err(ApiError::method_not_allowed())
}
pub fn attach(_target: Target, _call: Call) -> Result<Response<Body>, ApiError> {
    Err(ApiError::method_not_allowed())
}
pub fn node(_call: Call, _node: &str) -> Result<Response<Body>, ApiError> {
    Err(ApiError::method_not_allowed())
}

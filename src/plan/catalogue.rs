//! Stub until merge.
use crate::desired::Program;
#[derive(Debug, Clone, Default)]
pub struct HostPrograms;
pub fn resolve(
    image: &str,
    command: Option<&[String]>,
    _args: Option<&[String]>,
    _host: &HostPrograms,
) -> Result<Program, String> {
    match command {
        Some(c) => Ok(Program::Command { argv: c.to_vec() }),
        None => Ok(Program::Applet { argv: vec![image.into()] }),
    }
}

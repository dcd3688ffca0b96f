//! Names of the world outside. No packet gets there from a pod, so the lab's API is asked, which asks the machine's own
//! resolver.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use domain::base::Message;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::applet::kube::{Api, Connection, KubeError};

/// In the form of RFC 8484.
const PATH: &str = "/apis/nslab.dev/v1alpha1/dns-query";
const MESSAGE: &str = "application/dns-message";
/// Clients that wait for an answer. More are refused at once.
const MOST_WAITING: usize = 512;
/// Connections to the API, of which each carries one question at a time.
const MOST_CONNECTIONS: usize = 32;
/// Connections that are kept for the next questions.
const MOST_IDLE: usize = 4;
/// The clients' own patience is five seconds.
const PATIENCE: Duration = Duration::from_millis(4_800);

pub struct Forwarder {
    api: Api,
    idle: RefCell<Vec<Connection>>,
    waiting: Semaphore,
    connections: Semaphore,
    /// Whether it has been said that nobody answers.
    said: Cell<bool>,
}

impl Forwarder {
    pub fn new(api: Api) -> Self {
        let (waiting, connections) = (Semaphore::new(MOST_WAITING), Semaphore::new(MOST_CONNECTIONS));
        Forwarder { api, idle: RefCell::default(), waiting, connections, said: Cell::new(false) }
    }

    /// The reply to `query`, with its id. `None`: nobody answered.
    pub async fn ask(&self, query: &Message<Vec<u8>>) -> Option<Message<Vec<u8>>> {
        let _place = self.waiting.try_acquire().ok()?;
        let why = match timeout(PATIENCE, self.exchange(query)).await {
            Ok(Ok(bytes)) => match Message::from_octets(bytes).ok().filter(|answer| answer.is_answer(query)) {
                Some(answer) => {
                    self.said.set(false);
                    return Some(answer);
                }
                None => "the answer is to another question".to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_string(),
        };
        // Once, not for each of many questions.
        if !self.said.replace(true) {
            let asked = query.sole_question().map(|question| format!("{} {}", question.qname(), question.qtype()));
            println!("[ERROR] plugin/errors: 2 {}: {why}", asked.unwrap_or_default());
        }
        None
    }

    async fn exchange(&self, query: &Message<Vec<u8>>) -> Result<Vec<u8>, KubeError> {
        let _place = self.connections.acquire().await;
        // One that was idle may have been closed meanwhile, which says nothing about the API.
        let idle = self.idle.borrow_mut().pop();
        if let Some(connection) = idle
            && let answer @ (Ok(_) | Err(KubeError::Refused { .. })) = self.exchange_over(connection, query).await
        {
            return answer;
        }
        self.exchange_over(self.api.connect().await?, query).await
    }

    async fn exchange_over(&self, mut connection: Connection, query: &Message<Vec<u8>>) -> Result<Vec<u8>, KubeError> {
        let answer = connection.post_bytes(PATH, MESSAGE, query.as_slice().to_vec()).await;
        if matches!(answer, Ok(_) | Err(KubeError::Refused { .. })) {
            let mut idle = self.idle.borrow_mut();
            if idle.len() < MOST_IDLE {
                idle.push(connection);
            }
        }
        Ok(answer?.to_vec())
    }
}

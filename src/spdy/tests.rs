use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Two ends of one connection, driven; what the server is sent, and a handle for each.
fn pair() -> (Connection, Connection, mpsc::Receiver<Stream>, tokio::task::JoinSet<Result<(), SpdyError>>) {
    let (near, far) = tokio::io::duplex(8 << 10);
    let mut drivers = tokio::task::JoinSet::new();
    let (source, sink) = bytes(near);
    let (client, _, driver) = connect(source, sink, Side::Client).unwrap();
    drivers.spawn(driver);
    let (source, sink) = bytes(far);
    let (server, streams, driver) = connect(source, sink, Side::Server).unwrap();
    drivers.spawn(driver);
    (client, server, streams, drivers)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

async fn all(receiver: &mut Receiver) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(more) = soon(receiver.receive()).await {
        bytes.extend_from_slice(&more);
    }
    bytes
}

#[tokio::test]
async fn streams_carry_both_ways_and_end_one_way_at_a_time() {
    let (client, _server, mut streams, _drivers) = pair();
    let mut near = client.open(&Headers::new([("port", "80")])).await.unwrap();
    let mut far = soon(streams.recv()).await.unwrap();
    assert_eq!((far.id, far.headers.get("port")), (1, Some("80")));
    let large = vec![7; 1_000_000];
    let echo = tokio::spawn(async move {
        let got = all(&mut far.receiver).await;
        far.sender.send(&got).await.unwrap();
        far.sender.finish().await;
        got.len()
    });
    near.sender.send(&large).await.unwrap();
    near.sender.finish().await;
    assert!(all(&mut near.receiver).await == large && !near.receiver.was_reset());
    assert_eq!(soon(echo).await.unwrap(), large.len());
}

#[tokio::test]
async fn what_nobody_reads_is_not_taken() {
    let (client, _server, mut streams, _drivers) = pair();
    let near = client.open(&Headers::default()).await.unwrap();
    let mut far = soon(streams.recv()).await.unwrap();
    let piece = vec![1; PIECE];
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(100), near.sender.send(&piece)).await.is_ok() {
        sent += 1;
        assert!(sent < 64, "it is all taken");
    }
    assert!(soon(far.receiver.receive()).await.is_some());
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_reset() {
    let (client, server, mut streams, _drivers) = pair();
    let mut near = client.open(&Headers::default()).await.unwrap();
    drop(soon(streams.recv()).await.unwrap());
    assert_eq!(soon(near.receiver.receive()).await, None);
    assert!(near.receiver.was_reset());
    assert_eq!(near.sender.send(b"x").await, Err(SpdyError::Ended));
    drop(near);
    for connection in [client, server] {
        assert_eq!(lock(&connection.shared).streams.len(), 0);
    }
}

#[tokio::test]
async fn a_connection_that_finishes_delivers_what_was_sent() {
    let (client, server, mut streams, mut drivers) = pair();
    let mut near = client.open(&Headers::default()).await.unwrap();
    let far = soon(streams.recv()).await.unwrap();
    far.sender.send(b"the last words").await.unwrap();
    server.finish().await;
    assert_eq!(all(&mut near.receiver).await, b"the last words");
    assert_eq!(soon(drivers.join_next()).await.unwrap().unwrap(), Ok(()));
    assert!(client.open(&Headers::default()).await.is_err() || soon(drivers.join_next()).await.is_some());
}

#[tokio::test]
async fn streams_are_bounded_and_pings_answered() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (source, sink) = bytes(far);
    let (_server, mut streams, driver) = connect(source, sink, Side::Server).unwrap();
    let driver = tokio::spawn(driver);
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some(stream) = streams.recv().await {
            held.push(stream);
        }
        held.len()
    });
    let (mut source, mut sink) = bytes(near);
    let mut packer = Packer::new().unwrap();
    for number in 0..=MAX_STREAMS as u32 {
        let packed = packer.pack(&Headers::default()).unwrap();
        assert!(sink.send(frame::syn_stream(2 * number + 1, &packed)).await);
    }
    // One with a number that was used already, and one that a server opens.
    for id in [1, 2] {
        let packed = packer.pack(&Headers::default()).unwrap();
        assert!(sink.send(frame::syn_stream(id, &packed)).await);
    }
    assert!(sink.send(frame::ping(9)).await);
    let mut decoder = Decoder::new();
    let mut refused = Vec::new();
    'answers: loop {
        decoder.push(soon(source.receive()).await.unwrap());
        while let Some(event) = decoder.next().unwrap() {
            match event {
                Event::Reset { id } => refused.push(id),
                Event::Ping(9) => break 'answers,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(refused, [2 * MAX_STREAMS as u32 + 1, 1, 2]);
    drop((source, sink));
    soon(driver).await.unwrap().unwrap();
    assert_eq!(soon(held).await.unwrap(), MAX_STREAMS);
}

//! Many tasks on one multiplexed connection, and messages as they come.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, PushInfo, PushKind, from_redis_value, pipe};
use tokio::sync::broadcast;
use tokio::time::timeout;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// Tasks that share a connection each get their own replies.
pub(super) async fn shared_connection(client: &Client, prefix: &str) {
    let redis = connect(client).await;
    join_all((0..50).map(|task| {
        let (mut redis, key) = (redis.clone(), format!("{prefix}task:{task}"));
        async move {
            for round in 0..10 {
                () = redis.set(&key, task * 1000 + round).await.unwrap();
                assert_eq!(redis.get::<_, u32>(&key).await.unwrap(), task * 1000 + round);
                let _: u32 = redis.incr(format!("{key}:count"), 1).await.unwrap();
            }
            let (first, count): (u32, u32) = pipe()
                .atomic()
                .get(&key)
                .get(&key)
                .ignore()
                .incr(&key, 1)
                .query_async(&mut redis)
                .await
                .unwrap();
            assert_eq!((first, count), (task * 1000 + 9, task * 1000 + 10));
            assert_eq!(redis.get::<_, u32>(format!("{key}:count")).await.unwrap(), 10);
        }
    }))
    .await;
}

/// Workers that block have a connection each.
pub(super) async fn queue(client: &Client, prefix: &str) {
    let list = format!("{prefix}async:jobs");
    let workers = join_all((0..3).map(|_| async {
        let mut redis = connect(client).await;
        let mut done = Vec::new();
        while let Some((_, job)) = redis.blpop::<_, Option<(String, u32)>>(&list, 5.0).await.unwrap()
            && job < 60
        {
            done.push(job);
        }
        done
    }));
    let feeder = async {
        let mut redis = connect(client).await;
        for job in 0..63_u32 {
            () = redis.rpush(&list, job).await.unwrap();
        }
    };
    let (done, ()) = tokio::join!(workers, feeder);
    let mut done: Vec<u32> = done.into_iter().flatten().collect();
    done.sort_unstable();
    assert!(done.into_iter().eq(0..60));
}

/// A connection for messages alone.
pub(super) async fn messages(client: &Client, prefix: &str) {
    let channel = format!("{prefix}async:news");
    let mut subscriber = client.get_async_pubsub().await.unwrap();
    subscriber.subscribe(&channel).await.unwrap();
    let mut redis = connect(client).await;
    for message in 0..40 {
        assert_eq!(redis.publish::<_, _, u32>(&channel, message).await.unwrap(), 1);
    }
    let heard: Vec<u32> = timeout(
        LIMIT,
        subscriber.on_message().take(40).map(|message| message.get_payload::<u32>().unwrap()).collect(),
    )
    .await
    .unwrap();
    assert!(heard.into_iter().eq(0..40));
    subscriber.unsubscribe(&channel).await.unwrap();
    assert_eq!(redis.publish::<_, _, u32>(&channel, "nobody").await.unwrap(), 0);
}

/// With RESP3, commands and messages on one connection.
pub(super) async fn pushed_messages(client: &Client, prefix: &str) {
    let (push, mut pushed) = broadcast::channel::<PushInfo>(256);
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(LIMIT)).set_push_sender(push);
    let mut redis = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let (channel, key) = (format!("{prefix}pushed"), format!("{prefix}pushed:value"));
    redis.subscribe(&channel).await.unwrap();
    for message in 0..40 {
        () = redis.publish(&channel, message).await.unwrap();
        () = redis.set(&key, message).await.unwrap();
        assert_eq!(redis.get::<_, u32>(&key).await.unwrap(), message);
    }
    let mut heard = Vec::new();
    while heard.len() < 40 {
        let push = timeout(LIMIT, pushed.recv()).await.unwrap().unwrap();
        if push.kind == PushKind::Message {
            heard.push(from_redis_value::<u32>(push.data[1].clone()).unwrap());
        }
    }
    assert!(heard.into_iter().eq(0..40));
    redis.unsubscribe(&channel).await.unwrap();
}

async fn connect(client: &Client) -> MultiplexedConnection {
    // The ordinary patience of this crate is half a second, too little for a command that blocks.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(LIMIT));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

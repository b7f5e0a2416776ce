//! Messages between instances.

use covet_cache::Event;

use super::{SOON, Stage};

pub(crate) async fn all_instances_hear_what_one_says(stage: &impl Stage) {
    let instances = stage.several(3).await;
    let mut heard = Vec::new();
    for instance in &instances {
        heard.push(instance.cache.pubsub().subscribe("prices").await.unwrap());
    }
    let mut others = instances[0].cache.pubsub().subscribe("orders").await.unwrap();
    for number in 0..100 {
        instances[number % 3].cache.pubsub().publish("prices", format!("{number}").into()).await.unwrap();
    }
    instances[1].cache.pubsub().publish("orders", vec![0, 255, b'\r', b'\n'].into()).await.unwrap();
    let next = async |subscription: &mut covet_cache::Subscription| {
        tokio::time::timeout(SOON, subscription.next()).await.unwrap().unwrap()
    };
    for subscription in &mut heard {
        for number in 0..100 {
            assert_eq!(next(subscription).await, Event::Message(format!("{number}").into()));
        }
    }
    assert_eq!(next(&mut others).await, Event::Message(vec![0, 255, b'\r', b'\n'].into()));
    for instance in &instances {
        instance.cache.close().await;
    }
    assert_eq!(tokio::time::timeout(SOON, heard[0].next()).await.unwrap(), None);
}

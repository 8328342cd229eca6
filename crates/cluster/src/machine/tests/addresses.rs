//! Where nodes live: own addresses, addresses that another cluster uses now, and nodes that are forgotten.

use super::*;

/// A ping of a known node over a link that it opened to `local`.
fn accept(bench: &mut Bench, number: u64, node: usize, local: &str) -> Vec<Output> {
    let link = LinkId::accepted(number);
    let peer = format!("10.0.0.{node}");
    bench.give(Input::Accepted { link, peer: peer.into(), local: local.into() });
    let header = bench.header(node);
    bench.give(Input::Message {
        link,
        message: Arc::new(Message { header, body: Body::Ping(Gossip::default()) }),
    })
}

#[test]
fn a_changed_own_address_is_noticed_and_announced() {
    let mut bench = Bench::new(0);
    let host = |bench: &Bench| bench.machine.me().host.to_string();
    accept(&mut bench, 1, 1, "10.0.0.0");
    accept(&mut bench, 2, 2, "10.9.9.9");
    assert_eq!(host(&bench), "10.0.0.0", "one peer still uses the address");
    bench.give(Input::LinkClosed { link: LinkId::accepted(1), over_limit: false });
    let outputs = accept(&mut bench, 3, 4, "10.9.9.9");
    assert_eq!(host(&bench), "10.9.9.9");
    let told: Vec<usize> =
        sent(&bench, &outputs).into_iter().filter(|&(name, _)| name == "pong").map(|(_, to)| to).collect();
    assert!((1..6).all(|node| told.contains(&node)), "{told:?}");
    assert!(!saves(&outputs).is_empty());
    // A stranger's ping says nothing, and an announced address is for the operator to change.
    let mut bench = Bench::new(0);
    let link = LinkId::accepted(1);
    bench.give(Input::Accepted { link, peer: "10.7.7.7".into(), local: "10.9.9.9".into() });
    let header = Header { sender: NodeId::parse(&[b'9'; 40]).unwrap(), ..bench.header(1) };
    let message = Arc::new(Message { header, body: Body::Ping(Gossip::default()) });
    bench.give(Input::Message { link, message });
    assert_eq!(host(&bench), "10.0.0.0");
    let mut config = (*bench.machine.config).clone();
    config.announce_host = Some("192.0.2.7".into());
    let outputs = bench.give(Input::FromNode(NodeMessage::ConfigChanged(Arc::new(config))));
    assert_eq!(host(&bench), "192.0.2.7");
    let pongs = messages(&outputs);
    assert_eq!(pongs.len(), 5);
    assert!(pongs.iter().all(|pong| pong.header.announced_host.as_deref() == Some("192.0.2.7")));
    accept(&mut bench, 2, 2, "10.9.9.9");
    assert_eq!(host(&bench), "192.0.2.7");
}

#[test]
fn a_peer_that_announces_another_address_is_found_there() {
    let mut bench = Bench::new(0);
    accept(&mut bench, 1, 1, "10.0.0.0");
    let header = Header { announced_host: Some("192.0.2.7".into()), ..bench.header(1) };
    let message = Arc::new(Message { header, body: Body::Pong(Gossip::default()) });
    bench.give(Input::Message { link: LinkId::accepted(1), message });
    assert_eq!(&*bench.machine.table.get(bench.key(1)).unwrap().host, "192.0.2.7");
    let outputs = bench.after(100);
    let is_new = |output: &Output| matches!(output, Output::Connect { host, .. } if &**host == "192.0.2.7");
    assert!(outputs.iter().any(is_new));
}

/// A node of another cluster lives where one of ours did: neither takes the other, or whom it tells of, for one of its own.
#[test]
fn an_address_that_another_cluster_uses_now_merges_nothing() {
    let mut bench = Bench::new(0);
    let known = bench.machine.table.len();
    let stranger = NodeId::parse(&[b'8'; 40]).unwrap();
    let entry = GossipEntry {
        node: NodeId::parse(&[b'9'; 40]).unwrap(),
        ping_sent_s: 0,
        pong_received_s: 9,
        host: "10.0.0.77".into(),
        port: 6379,
        bus_port: 16379,
        flags: NodeFlags::PRIMARY,
        other_port: 0,
    };
    let gossip = Gossip { entries: vec![entry], extensions: Extensions::default() };
    let header =
        Header { sender: stranger, current_epoch: 99, config_epoch: 99, primary: None, ..bench.header(1) };
    let outputs = bench.receive(1, header.clone(), Body::Pong(gossip.clone()));
    assert!(outputs.iter().any(|output| matches!(output, Output::Close { .. })));
    assert!(bench.flags(1).has(NodeFlags::NO_ADDRESS));
    assert_eq!(bench.machine.table.len(), known);
    assert_eq!(bench.machine.table.owner(1), Some(bench.key(1)), "its slots stay its own");
    assert_eq!(bench.machine.current_epoch, 6);
    assert_eq!(bench.machine.table.get(bench.key(1)).unwrap().config_epoch, 2);
    // It pings us, as it takes us for the one that was here before.
    let link = LinkId::accepted(5);
    bench.give(Input::Accepted { link, peer: "10.0.0.1".into(), local: "10.0.0.0".into() });
    let message = Arc::new(Message { header, body: Body::Ping(gossip) });
    let outputs = bench.give(Input::Message { link, message });
    assert_eq!(names_on(&outputs, link), ["pong"], "it learns that we are another");
    assert_eq!((bench.machine.table.len(), bench.machine.current_epoch), (known, 6));
    let outputs = bench.after(3000);
    let reaches = |output: &Output| matches!(output, Output::Connect { host, .. } if &**host == "10.0.0.77");
    assert!(!outputs.iter().any(reaches));
}

fn names_on(outputs: &[Output], wanted: LinkId) -> Vec<&'static str> {
    let name = |output: &Output| match output {
        Output::Send { link, message } if *link == wanted => {
            Some(crate::messages::MESSAGE_TYPE_NAMES[usize::from(message.body.type_number())])
        }
        _ => None,
    };
    outputs.iter().filter_map(name).collect()
}

#[test]
fn a_ban_is_told_to_all_who_understand() {
    let mut bench = Bench::new(0);
    for node in [1, 2] {
        let is_shoal = node == 1;
        let shoal_version = u8::from(is_shoal);
        let header = Header { shoal_version, extensions_understood: is_shoal, ..bench.header(node) };
        bench.receive(node, header, Body::Pong(Gossip::default()));
    }
    let id = bench.ids[5];
    let node: Arc<[u8]> = id.as_bytes()[..].into();
    let outputs = bench.give(Input::Command { ticket: 7, command: ClusterCommand::Forget { node } });
    let told: Vec<(usize, usize)> = sent(&bench, &outputs)
        .into_iter()
        .zip(messages(&outputs))
        .filter_map(|((_, to), message)| Some((to, message.body.gossip()?.extensions.forgotten.len())))
        .collect();
    assert!(told.contains(&(1, 1)), "at once: {told:?}");
    assert!(told.contains(&(2, 0)), "Redis 7.0 does not know it: {told:?}");
    // A peer that has heard of it elsewhere asks us to forget one more; gossip does not bring them back.
    let asked = Extensions { forgotten: vec![(bench.ids[4], 60)], ..Extensions::default() };
    let header = bench.header(1);
    let forget = Gossip { entries: Vec::new(), extensions: asked };
    bench.receive(1, header.clone(), Body::Pong(forget));
    assert_eq!(bench.machine.table.len(), 4);
    let entry = |id| GossipEntry {
        node: id,
        ping_sent_s: 0,
        pong_received_s: 0,
        host: "10.0.0.5".into(),
        port: 6379,
        bus_port: 16379,
        flags: NodeFlags::REPLICA,
        other_port: 0,
    };
    let entries = vec![entry(bench.ids[4]), entry(id)];
    let gossip = Gossip { entries, extensions: Extensions::default() };
    bench.receive(1, header.clone(), Body::Pong(gossip.clone()));
    assert_eq!(bench.machine.table.len(), 4);
    bench.after(61_000);
    let link = bench.machine.table.get(bench.key(1)).unwrap().link;
    if let Some(link) = link {
        bench.give(Input::LinkOpened { link });
    }
    bench.receive(1, header, Body::Pong(gossip));
    assert_eq!(bench.machine.table.len(), 6, "the ban is over");
}

//! Where names of keys stand in a reply: a column of the table.

/// Where names of keys, or of channels, stand in the reply to a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyNames {
    /// There are none.
    #[default]
    None,
    /// The reply is a name.
    Whole,
    /// All elements of the reply are names.
    Elements,
    /// All elements of the second element are names: a page of SCAN.
    Page,
    /// The first element is a name: what was popped from the first list that has something.
    First,
    /// The first element of each element or, in RESP3, each key of the map is a name: streams.
    Streams,
    /// All elements of the reply are names of channels: PUBSUB CHANNELS.
    Channels,
    /// Every other element, from the first on, is the name of a channel: PUBSUB NUMSUB.
    ChannelCounts,
    /// There are none, and the absence of the key is no error: MOVE, where it is done by RENAMENX.
    Moved,
    /// There are none of keys, but a script may have its name or its body in it.
    Script,
}

package wire

// Every limit of the system that bytes from outside can reach stands here.
// One limit holds at the client, on the wire, in the log and at replay: what
// was accepted once can always be read back.
const (
	MaxKeyBytes     = 4 << 10 // one key
	MaxCommandBytes = 1 << 20 // one command as the state machine sees it
	MaxFrameBytes   = 2 << 20 // one client frame, header included
	MaxAppendBytes  = 4 << 20 // one peer frame, header included
	MaxHelloBytes   = 4 << 10 // anything before the hello is accepted
	MaxBatchOps     = 10_000  // commands in one batch: keys that one entry touches
	MaxScanKeys     = 10_000  // keys visited by one scan page
	ScanPageBytes   = 1 << 20 // items in one scan page, unless the first alone is larger
	MaxMembers      = 64      // members of one configuration
	MaxNameBytes    = 64      // a member's name
	MaxAddrBytes    = 256     // host:port
	MaxTextBytes    = 1 << 10 // the text of an error

	MaxConnections    = 10_000
	MaxConnRequests   = 4096      // requests in flight on one client connection
	MaxConnBytes      = 8 << 20   // bytes of requests in flight on one client connection
	MaxOutboundBytes  = 8 << 20   // replies a slow reader may leave unread before it is closed
	MaxHeldBytes      = 256 << 20 // unfinished requests and unread replies of all connections of a node
	HelloTimeoutNanos = 2_000_000_000

	MaxUncommittedBytes = 64 << 20 // proposals not yet committed
	LogTailBytes        = 64 << 20 // entries kept in memory for members that lack them
	DefaultSegmentBytes = 64 << 20
	MinSegmentBytes     = 8 * MaxCommandBytes
)

// The limits are asserted against each other: an array of negative length
// does not compile.
var (
	_ [MaxFrameBytes - (MaxCommandBytes + MaxKeyBytes + FrameHeaderBytes + 256)]struct{}
	_ [MaxFrameBytes - (ScanPageBytes + FrameHeaderBytes + 256)]struct{}
	_ [MaxAppendBytes - (MaxEntryBytes + FrameHeaderBytes + 256)]struct{}
	_ [MaxHelloBytes - (FrameHeaderBytes + 2*MaxAddrBytes + 2*MaxNameBytes + 256)]struct{}
	_ [MaxHelloBytes - (FrameHeaderBytes + MaxAddrBytes + MaxTextBytes + 256)]struct{}
	_ [MaxCommandBytes - MaxMembers*(memberMinBytes+MaxNameBytes+2*MaxAddrBytes+8)]struct{}
	_ [MaxUncommittedBytes - 2*MaxAppendBytes]struct{}
	_ [DefaultSegmentBytes - MinSegmentBytes]struct{}
	_ [MaxConnBytes - 2*MaxFrameBytes]struct{}
)

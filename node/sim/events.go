package sim

// eventKind says what happens when an event's time has come.
type eventKind uint8

const (
	evTick    eventKind = iota + 1 // a node's timer
	evTurn                         // a node's batch of events ends
	evPeer                         // bytes of another node arrive
	evRequest                      // a client's frame arrives at a node
	evReply                        // a node's frame arrives at a client
	evLink                         // a node loses its link to another, or has it again
	evStored                       // a node's disk has finished a write
	evRead                         // a node's disk has finished a read
	evNext                         // a client sends its next operation
	evTimeout                      // a client gives up waiting
	evRestart                      // a node comes back
	evFault                        // the nemesis strikes; it and the next are no part of the trace
	evStrike                       // a recorded fault is replayed
	evHunt                         // it strikes a leader that was just elected
	evSnap                         // it springs a trap
	evHeal                         // the network is whole again
)

// event is one thing that will happen. Which fields are used depends on kind.
type event struct {
	at     int64
	seq    uint64 // order among events of the same time
	kind   eventKind
	node   int
	life   uint64 // the node's life it belongs to; it dies with that life
	from   int    // evPeer: sender; evLink: the other; evSnap: who was cut off
	up     bool   // evLink; evSnap: nobody is restarted
	client int
	op     uint64 // evTimeout: the operation's number; evStrike: position of the fault
	data   []byte
	read   int // evRead: position in the node's reads
}

// heap is a binary heap of events by time, then by order of creation.
type heap struct {
	items []event
	seq   uint64
}

func (h *heap) less(i, j int) bool {
	a, b := &h.items[i], &h.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (h *heap) push(e event) {
	h.seq++
	e.seq = h.seq
	h.items = append(h.items, e)
	for i := len(h.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			return
		}
		h.items[i], h.items[up] = h.items[up], h.items[i]
		i = up
	}
}

func (h *heap) pop() event {
	top := h.items[0]
	last := len(h.items) - 1
	h.items[0] = h.items[last]
	h.items[last] = event{}
	h.items = h.items[:last]
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < last && h.less(c, least) {
				least = c
			}
		}
		if least == i {
			return top
		}
		h.items[i], h.items[least] = h.items[least], h.items[i]
		i = least
	}
}

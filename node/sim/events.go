package sim

// eventKind says what happens when an event's time has come.
type eventKind uint8

const (
	evTick    eventKind = iota + 1 // a node's timer
	evTurn                         // a node's batch of events ends
	evPeer                         // a datagram of another node arrives
	evLink                         // a node loses its link to another, or has it again
	evDial                         // a node calls another
	evStored                       // a node's disk has finished a write
	evRead                         // a node's disk has finished a read
	evNext                         // a client sends its next operation
	evRetry                        // a client sends an operation again
	evCall                         // a client calls a node
	evTimeout                      // a client gives up waiting
	evRestart                      // a node comes back
	evBytes                        // bytes arrive at an end of a connection
	evEnd                          // an end learns that the other one is gone
	evHello                        // an end has waited long enough for a hello
	evSilence                      // a node has waited long enough for an acknowledgement
	evDisk                         // a node's disk works again, or its process is restarted
	evFault                        // the nemesis strikes; it and the next are no part of the trace
	evStrike                       // a recorded fault is replayed
	evPlan                         // it does what it had planned
	evHunt                         // it strikes a leader that was just elected
	evSnap                         // it springs a trap
	evHeal                         // the network is whole again
	evStrand                       // it leaves a node in a term of its own
	evRot                          // it strikes a disk
)

// event is one thing that will happen. Which fields are used depends on kind.
type event struct {
	at     int64
	kind   eventKind
	node   int    // -1: a client's end of a connection
	life   uint64 // the node's life it belongs to; it dies with that life
	from   int    // evPeer: sender; evLink, evDial: the other; evSnap: who was cut off; from evBytes on: the end
	up     bool   // evLink; evSnap: nobody is restarted; evDisk: no restart is needed
	late   bool   // put off, for its node stands still
	client int
	op     uint64 // evTimeout, evRetry: the request; evStrike, evPlan: position of the fault; from evBytes on: the connection
	data   []byte
	read   int // evRead: position in the node's reads; clients: slot; evBytes: how many
}

// heap orders events by time, then by order of creation: a heap of fan-out four
// over small keys, while the events themselves stay where they are.
type heap struct {
	keys  []eventKey
	slots []event
	free  []uint32 // slots that hold no event
	seq   uint64
}

type eventKey struct {
	at   int64
	seq  uint64
	slot uint32
}

func (k *eventKey) before(o *eventKey) bool { return k.at < o.at || k.at == o.at && k.seq < o.seq }

// next returns when the first event is due; false if there is none.
func (h *heap) next() (int64, bool) {
	if len(h.keys) == 0 {
		return 0, false
	}
	return h.keys[0].at, true
}

func (h *heap) push(e *event) {
	var slot uint32
	if n := len(h.free); n > 0 {
		slot = h.free[n-1]
		h.free = h.free[:n-1]
		h.slots[slot] = *e
	} else {
		slot = uint32(len(h.slots))
		h.slots = append(h.slots, *e)
	}
	h.seq++
	k := eventKey{e.at, h.seq, slot}
	i := len(h.keys)
	h.keys = append(h.keys, k)
	for i > 0 {
		up := (i - 1) / 4
		if !k.before(&h.keys[up]) {
			break
		}
		h.keys[i] = h.keys[up]
		i = up
	}
	h.keys[i] = k
}

// pop takes the first event out. There must be one.
func (h *heap) pop() event {
	top := h.keys[0].slot
	last := len(h.keys) - 1
	k := h.keys[last]
	h.keys = h.keys[:last]
	for i := 0; last > 0; {
		least := 4*i + 1
		for c := least + 1; c < min(4*i+5, last); c++ {
			if h.keys[c].before(&h.keys[least]) {
				least = c
			}
		}
		if least >= last || !h.keys[least].before(&k) {
			h.keys[i] = k
			break
		}
		h.keys[i] = h.keys[least]
		i = least
	}
	e := h.slots[top]
	h.slots[top].data = nil
	h.free = append(h.free, top)
	return e
}

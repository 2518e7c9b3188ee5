package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

const (
	loopDeadAfter = 5 * time.Second
	maxApplyLag   = 10_000 // entries that a ready node may lack
	maxHTTPConns  = 64     // at once
)

// admin is the HTTP listener for people and their tools. It sees only what the
// loop has published.
type admin struct {
	n   *Node
	ln  net.Listener
	srv *http.Server

	mu    sync.Mutex
	conns []net.Conn // oldest first
}

func newAdmin(n *Node, addr string) (*admin, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, listenError(addr, "HTTP", err)
	}
	a := &admin{n: n, ln: ln}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", a.metrics)
	mux.HandleFunc("GET /livez", a.livez)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /status", a.status)
	a.srv = &http.Server{
		Handler: mux, ConnState: a.connState, ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	return a, nil
}

func (a *admin) serve() {
	if err := a.srv.Serve(a.ln); !errors.Is(err, http.ErrServerClosed) {
		a.n.log.Error("HTTP ended", "event", "http.failed", "err", err)
	}
}

func (a *admin) close(ctx context.Context) {
	if a.srv.Shutdown(ctx) != nil {
		_ = a.srv.Close()
	}
}

// connState bounds the connections: the oldest has to go for a new one, so that
// nobody keeps a probe out by holding all places.
func (a *admin) connState(c net.Conn, s http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch s {
	case http.StateNew:
		if len(a.conns) >= a.n.places.http {
			_ = a.conns[0].Close()
			a.conns = slices.Delete(a.conns, 0, 1)
		}
		a.conns = append(a.conns, c)
	case http.StateClosed:
		a.conns = slices.DeleteFunc(a.conns, func(o net.Conn) bool { return o == c })
	case http.StateActive, http.StateIdle, http.StateHijacked:
	}
}

func (a *admin) metrics(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := a.n.writeMetrics(&b); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// livez says whether the event loop turns; it knows nothing of quorums.
func (a *admin) livez(w http.ResponseWriter, _ *http.Request) {
	if age := time.Duration(monotonic() - a.n.lastTick.Load()); age > loopDeadAfter {
		http.Error(w, fmt.Sprintf("the event loop has not turned for %v", age.Round(time.Millisecond)), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// readyz says whether requests are well placed here.
func (a *admin) readyz(w http.ResponseWriter, _ *http.Request) {
	reasons := a.n.notReady()
	if len(reasons) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, r := range reasons {
		fmt.Fprintln(w, r)
	}
}

// notReady returns why this node should not be sent requests.
func (n *Node) notReady() []string {
	s := n.published.get()
	reasons := []string{}
	add := func(bad bool, format string, args ...any) {
		if bad {
			reasons = append(reasons, fmt.Sprintf(format, args...))
		}
	}
	add(time.Duration(monotonic()-n.lastTick.Load()) > loopDeadAfter, "the event loop does not turn")
	add(s.draining, "shutting down")
	add(s.founding != "", "the cluster is being founded: %s", s.founding)
	add(s.fenced != "", "fenced: %s", s.fenced)
	add(s.founding == "" && s.status.Leader == 0, "no leader is known")
	add(s.status.Role == wire.RoleLeader && s.raft.DiskStalled || n.loop.hangs.Load(), "the disk does not return: writes wait for it")
	add(s.status.Applied+maxApplyLag < s.status.Commit, "applied %d of %d committed entries", s.status.Applied, s.status.Commit)
	return reasons
}

// statusView is the JSON of /status. Fields may be added, never changed.
type statusView struct {
	Name      string       `json:"name"`
	ID        uint64       `json:"id"`
	Cluster   string       `json:"cluster"`
	Replica   string       `json:"replica"`
	Role      string       `json:"role"`
	State     string       `json:"state"`
	Term      uint64       `json:"term"`
	Leader    string       `json:"leader"`
	Commit    uint64       `json:"commit"`
	Applied   uint64       `json:"applied"`
	Last      uint64       `json:"last"`
	Hash      string       `json:"hash"`
	Client    string       `json:"client"`
	Peer      string       `json:"peer"`
	NotReady  []string     `json:"not_ready"`
	Members   []memberView `json:"members"`
	UptimeSec int64        `json:"uptime_seconds"`
}

type memberView struct {
	ID     uint64 `json:"id"`
	Name   string `json:"name"`
	Role   string `json:"role"`
	Peer   string `json:"peer"`
	Client string `json:"client"`
	Link   bool   `json:"link"`
}

func (a *admin) status(w http.ResponseWriter, _ *http.Request) {
	v := a.n.statusView()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}

func (n *Node) statusView() statusView {
	s := n.published.get()
	st := &s.status
	v := statusView{
		Name: n.cfg.Name, ID: uint64(st.ID), Replica: n.self.Load().replica.String(),
		Role: st.Role.String(), State: st.State.String(),
		Term: uint64(st.Term), Commit: uint64(st.Commit), Applied: uint64(st.Applied), Last: uint64(st.Last),
		Hash: fmt.Sprintf("%016x", st.Hash), Client: n.clientAddr, Peer: n.peerAddr,
		NotReady: n.notReady(), Members: []memberView{}, UptimeSec: int64(time.Since(n.started).Seconds()),
	}
	if !st.Cluster.IsZero() {
		v.Cluster = st.Cluster.String()
	}
	for i := range st.Members {
		m := &st.Members[i]
		if m.ID == st.Leader {
			v.Leader = m.Name
		}
		link := m.Role != 0 && m.Name == n.cfg.Name
		for j := range s.peers {
			link = link || s.peers[j].name == m.Name && s.peers[j].link
		}
		v.Members = append(v.Members, memberView{uint64(m.ID), m.Name, m.Role.String(), m.PeerAddr, m.ClientAddr, link})
	}
	return v
}

// Status describes this node as of at most a tenth of a second ago.
func (n *Node) Status() wire.NodeStatus {
	s := n.published.get()
	s.status.Members = append([]wire.Member(nil), s.status.Members...)
	return s.status
}

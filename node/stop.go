package node

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	drainPoll         = 2 * time.Millisecond
	failedStopTimeout = 2 * time.Second
)

var errLoopEnded = errors.New("the event loop ended by itself: the log says what gnet met; restart the node")

// watch stops the node when it has failed.
func (n *Node) watch() {
	select {
	case <-n.done:
		return
	case <-n.failure:
	case <-n.loopDone:
		if !n.isStopping() {
			n.fail(errLoopEnded)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), failedStopTimeout)
	defer cancel()
	_ = n.Shutdown(ctx) // the reason is in Err already
}

func (n *Node) isStopping() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stopping
}

// claimStop reports whether the caller is the one to stop the node.
func (n *Node) claimStop() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	first := !n.stopping
	n.stopping = true
	return first
}

// Shutdown stops the node in order: no new connections and requests, answers
// for those in flight, then the log is sealed and everything closed. When ctx
// ends first, what is still in flight is left unanswered; the log is sealed all
// the same. It returns when every goroutine of the node has ended, or with an
// error if the disk hangs until ctx ends: the folder then stays locked.
func (n *Node) Shutdown(ctx context.Context) error {
	if !n.claimStop() {
		<-n.done
		return nil
	}
	n.log.Info("shutting down", "event", "stop.begin")
	n.client.close()
	n.drain(ctx)
	err := n.end(ctx, true)
	n.log.Info("stopped", "event", "stop.end", "err", err)
	close(n.done)
	return err
}

// Kill stops the node as abruptly as one process can stop a part of itself:
// nothing is answered, sent, synced or sealed any more, as after kill -9. It
// returns when ports, folder and goroutines are free again.
func (n *Node) Kill() {
	if !n.claimStop() {
		<-n.done
		return
	}
	n.loop.killed.Store(true)
	_ = n.end(context.Background(), false)
	close(n.done)
}

// drain waits until every request has its answer and every answer is with the
// kernel.
func (n *Node) drain(ctx context.Context) {
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	for begun := time.Now(); ; {
		idle := make(chan bool, 1)
		n.loop.call(func(l *loop) { idle <- l.drained() })
		select {
		case done := <-idle:
			if done {
				return
			}
		case <-ctx.Done():
			n.log.Warn("requests are left unanswered", "event", "stop.timeout", "after", time.Since(begun))
			return
		case <-n.loopDone:
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
		}
	}
}

// drained refuses what is new and reports whether nothing old is left. It runs
// on the loop.
func (l *loop) drained() bool {
	if !l.draining {
		l.draining = true
		if l.self != nil {
			s := *l.self
			s.leaving = true
			l.publishSelf(&s)
		}
	}
	if l.pending > 0 || len(l.conns.dirty) > 0 || len(l.conns.yielding) > 0 {
		return false
	}
	for _, c := range l.conns.slots {
		if c != nil && c.state == connOpen && c.gc.OutboundBuffered() > 0 {
			return false
		}
	}
	return true
}

// end ends the use of the folder, and every goroutine. If the disk hangs, files
// and lock stay its own, and the goroutines end when it is back.
func (n *Node) end(ctx context.Context, orderly bool) error {
	n.client.close()
	n.peer.close()
	if err := n.disk.end(ctx); err != nil {
		n.loop.killed.Store(true)
		go n.endRest(context.Background())
		return err
	}
	n.endRest(ctx)
	var err error
	if orderly {
		if err = n.store.Close(); err != nil {
			err = fmt.Errorf("cannot close the log: %w", err)
		}
	}
	if cerr := n.fs.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("cannot release the data folder: %w", cerr))
	}
	return err
}

// endRest ends all goroutines but the disk's. In order: ports, links, timer, event
// loop, HTTP: the loop comes after all who post to it, for gnet closes the
// descriptor that a post would write to.
func (n *Node) endRest(ctx context.Context) {
	n.linkStop()
	n.client.wait()
	n.peer.wait()
	n.linkWG.Wait()
	close(n.tickStop)
	n.kicker.Stop()
	n.tickWG.Wait()
	n.stopLoop()
	n.loop.release()
	if n.admin != nil {
		n.admin.close(ctx)
	}
}

// release lets go of what is large, for who keeps a stopped node.
func (l *loop) release() {
	l.rep, l.state, l.links, l.conns = nil, nil, nil, conns{}
}

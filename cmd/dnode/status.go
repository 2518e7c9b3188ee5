package main

import (
	"context"
	"fmt"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
)

// memberTimeout bounds the wait for one member, so that a dead one does not
// hide the others.
const memberTimeout = time.Second

// member is one line of the status.
type member struct {
	Name    string `json:"name"`
	ID      uint64 `json:"id"`
	Role    string `json:"role"`
	Term    uint64 `json:"term"`
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	State   string `json:"state"`
	Hash    string `json:"hash"`
	Client  string `json:"client"`
	Peer    string `json:"peer"`
}

func newStatus(con *console) *cobra.Command {
	var from target
	var format string
	cmd := &cobra.Command{
		Use: "status", GroupID: groupCluster, Args: takes(""),
		Short:   "Show every member of the cluster",
		Long:    "Show every member that the first answering endpoint knows, as each says of itself.",
		Example: examples("dnode status", "dnode status -o json -e 127.0.0.1:7410"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return from.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				members, err := membersOf(ctx, c)
				if err != nil {
					return err
				}
				if note := leaderless(members); note != "" {
					fmt.Fprintf(con.err, "dnode: %s\n", note)
				}
				if format == asJSON {
					return writeJSON(con.out, members)
				}
				return printMembers(con, members)
			})
		},
	}
	from.addFlags(cmd)
	cmd.Flags().VarP(oneOf(&format, asTable, asJSON), "output", "o", "how to print")
	return cmd
}

// membersOf asks one node who there is, and then every member how it is.
func membersOf(ctx context.Context, c *client.Client) ([]member, error) {
	first, members, err := ask(ctx, c, "")
	if err != nil {
		return nil, err
	}
	var asked sync.WaitGroup
	found := false
	for i := range members {
		m := &members[i]
		switch {
		case m.ID == first.ID:
			found = true
			first.Client, first.Peer = m.Client, m.Peer
			*m = first
		case m.Client != "":
			asked.Go(func() { m.refresh(ctx, c) })
		}
	}
	asked.Wait()
	if !found { // a node that waits for the others to found the cluster
		members = append([]member{first}, members...)
	}
	return members, nil
}

// ask returns what a node says of itself, and the members it knows, none of
// them asked yet.
func ask(ctx context.Context, c *client.Client, endpoint string) (self member, members []member, err error) {
	st, err := c.Status(ctx, endpoint)
	if err != nil {
		return member{}, nil, err
	}
	for _, m := range st.Members {
		members = append(members, member{
			Name: m.Name, ID: uint64(m.ID), Role: "unknown", State: "unreachable",
			Client: m.ClientAddr, Peer: m.PeerAddr,
		})
	}
	return member{
		Name: st.Name, ID: uint64(st.ID), Role: st.Role.String(), State: st.State.String(),
		Term: uint64(st.Term), Commit: uint64(st.Commit), Applied: uint64(st.Applied),
		Hash: fmt.Sprintf("%016x", st.Hash),
	}, members, nil
}

// refresh replaces what is known of a member by its own words, if it answers.
func (m *member) refresh(ctx context.Context, c *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	if self, _, err := ask(ctx, c, m.Client); err == nil && self.ID == m.ID {
		self.Client, self.Peer = m.Client, m.Peer
		*m = self
	}
}

// leaderless says what keeps a cluster from serving, or nothing if it has a
// leader.
func leaderless(members []member) string {
	answering := 0
	for _, m := range members {
		if m.Role == "leader" {
			return ""
		}
		if m.State == "ok" || m.State == "nospace" {
			answering++
		}
	}
	if len(members) == 1 && members[0].ID == 0 {
		return fmt.Sprintf("%s waits for the other nodes of its --cluster; its log and /readyz name them", members[0].Name)
	}
	return fmt.Sprintf("no leader: %d of %d members take part, it needs %d that reach each other", answering, len(members), len(members)/2+1)
}

func printMembers(con *console, members []member) error {
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tTERM\tCOMMIT\tAPPLIED\tSTATE\tCLIENT\tPEER")
	for _, m := range members {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", m.Name, m.Role, m.Term, m.Commit, m.Applied, m.State, m.Client, m.Peer)
	}
	return w.Flush()
}

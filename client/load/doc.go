// Package load drives operations against a cluster and measures them.
package load

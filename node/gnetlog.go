package node

import (
	"context"
	"fmt"
	"log/slog"
)

// gnetLog passes gnet's own messages on. Two of gnet's habits are mended here:
// what it calls fatal must not end the process, and what it says about every
// start is of no interest above debug level.
type gnetLog struct{ log *slog.Logger }

// Debugf is part of gnet's Logger.
func (g gnetLog) Debugf(format string, args ...any) { g.say(slog.LevelDebug, format, args) }

// Infof is part of gnet's Logger.
func (g gnetLog) Infof(format string, args ...any) { g.say(slog.LevelDebug, format, args) }

// Warnf is part of gnet's Logger.
func (g gnetLog) Warnf(format string, args ...any) { g.say(slog.LevelWarn, format, args) }

// Errorf is part of gnet's Logger.
func (g gnetLog) Errorf(format string, args ...any) { g.say(slog.LevelError, format, args) }

// Fatalf is part of gnet's Logger.
func (g gnetLog) Fatalf(format string, args ...any) { g.say(slog.LevelError, format, args) }

func (g gnetLog) say(level slog.Level, format string, args []any) {
	if g.log.Enabled(context.Background(), level) {
		g.log.Log(context.Background(), level, fmt.Sprintf(format, args...), "event", "gnet")
	}
}

// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

// watcherTests are the tests of package pkb that the changes of watchers must fail.
const watcherTests = "TelemetryThat|LoggerThat|HookThat|TestTelemetry|TestFollow"

// watchers are the lines that keep a Telemetry or a Logger that fails from failing what
// it watches.
var watchers = []line{
	{"the end of a goroutine is waited for", "pkb/contain.go", "		defer func() {\n			_ = recover()\n			done <- got\n		}()\n		v := call()\n		got = &v\n", "		defer func() { _ = recover() }()\n		v := call()\n		got = &v\n		done <- got\n"},
	{"a call is waited for as long as it takes", "pkb/contain.go", "const (\n	// watchPatience is how long a call is waited for.\n	watchPatience = time.Second", "const (\n	watchPatience = time.Hour"},
	{"any number may hang", "pkb/contain.go", "	if c.hanging.Load() >= mostWatching {", "	if false {"},
	{"what has hung is never called again", "pkb/contain.go", "			c.hanging.Add(-1)\n", ""},
	{"the end of the host's context is the operation's", "pkb/contain.go", "	return valued{ctx, values}", "	return values"},
	{"a Telemetry that fails is not heard of", "pkb/client.go", "cfg.Logger.Error(\"pkb: Config.Telemetry failed\", \"error\", hush(err, err.Error()))", "_ = err"},
	{"Begin may fail its operation", "pkb/observing.go", "ctx, end := c.telemetry.begin(ctx, op)", "ctx, end := c.telemetry.to.Begin(ctx, op)"},
	{"Event may fail OnEvent", "pkb/observing.go", "t.call(\"Telemetry.Event\", func() { t.to.Event(observe.EventKind(e.Kind), observe.Cause(e.Cause)) })", "t.to.Event(observe.EventKind(e.Kind), observe.Cause(e.Cause))"},
	{"Notified may fail OnEvent", "pkb/observing.go", "t.call(\"Telemetry.Notified\", func() { to.Notified(noticeKind(n), accepted) })", "to.Notified(noticeKind(n), accepted)"},
	{"Swept may fail OnEvent", "pkb/observing.go", "t.call(\"Telemetry.Swept\", func() { to.Swept(swept) })", "to.Swept(swept)"},
	{"Follow may fail its refresh", "pkb/contain.go", "followed, _ := contain(&t.contained, \"Telemetry.Follow\", func() context.Context { return to.Follow(refresh, caller) })", "followed := to.Follow(refresh, caller)"},
	{"Handle may fail its caller", "pkb/print.go", "	err, _ := contain(h.contained, \"Handler.Handle\", func() error { return h.Handler.Handle(ctx, out) })\n	return err\n", "	return h.Handler.Handle(ctx, out)\n"},
	{"Enabled may fail its caller", "pkb/print.go", "	yes, _ := contain(h.contained, \"Handler.Enabled\", func() bool { return h.Handler.Enabled(ctx, level) })\n	return yes\n", "	return h.Handler.Enabled(ctx, level)\n"},
}

// A MongoDB protocol server for tests: FerretDB on its SQLite backend, loopback only.
//
// It is a module of its own because building FerretDB's own command needs version files that are not in the module.
// SIGTERM and SIGINT stop it. It has no transactions, change streams, TTL indexes or atomic updates.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// garbagePercent lets the heap grow to five times what is in use before it is swept: it is small, and FerretDB, which
// turns each document into JSON and back, spent a fifth of its time on sweeping.
const garbagePercent = 400

// quietHandler writes warnings and errors. FerretDB attaches the arguments of each SQL statement to its logger, which
// slog's own handlers make text of at once, also of what is never written; this one does so when something is.
type quietHandler struct {
	written  slog.Handler
	attached []slog.Attr
}

func (h quietHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

func (h quietHandler) Handle(ctx context.Context, record slog.Record) error {
	return h.written.WithAttrs(h.attached).Handle(ctx, record)
}

func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{h.written, append(h.attached[:len(h.attached):len(h.attached)], attrs...)}
}

// WithGroup leaves groups out: names within one are as good without it.
func (h quietHandler) WithGroup(string) slog.Handler { return h }

func main() {
	debug.SetGCPercent(garbagePercent)
	port := flag.Int("port", 27017, "TCP port on 127.0.0.1")
	data := flag.String("data", "", "folder for the SQLite files; made if it is not there")
	guarded := flag.Bool("guarded", false, "stop when standard input ends, as it does when the parent is gone")
	flag.Parse()
	if err := run(*port, *data, *guarded); err != nil {
		log.Fatal(err)
	}
}

// run serves until a signal, or the end of standard input, says stop.
func run(port int, data string, guarded bool) error {
	folder, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if guarded {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))},
		Handler:   "sqlite",
		SQLiteURL: (&url.URL{Scheme: "file", Path: folder + "/"}).String(),
		Logger:    slog.New(quietHandler{written: slog.NewTextHandler(os.Stderr, nil)}),
	})
	if err != nil {
		return err
	}
	log.Printf("serving on 127.0.0.1:%d from %s", port, folder)
	return server.Run(ctx)
}

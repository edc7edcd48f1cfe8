package toxiproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// LabHeader names the lab in every answer.
const LabHeader = "Wslab-Lab"

// patience is how long requests may take that are under way when the API ends.
const patience = 5 * time.Second

// Serve answers the API of a lab on a listener until ctx ends, and closes it.
func Serve(ctx context.Context, l net.Listener, lab string, api http.Handler) error {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(LabHeader, lab)
			api.ServeHTTP(w, r)
		}),
		ReadTimeout:  15 * time.Second, // as Toxiproxy's
		WriteTimeout: 30 * time.Second,
		IdleTimeout:  60 * time.Second,
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err := server.Shutdown(ending)
		if err != nil {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(l)
	if !stop() {
		return <-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// LabAt says which lab's API answers at an address; "" if something else or nothing does.
func LabAt(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/version", nil)
	if err != nil {
		return ""
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	_ = response.Body.Close()
	return response.Header.Get(LabHeader)
}

// Listen opens the API's listener.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the Toxiproxy API cannot listen on %s: %w", address, err)
	}
	return l, nil
}

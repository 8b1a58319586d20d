// etcd_client drives etcd over its gRPC API, with etcd's own Go client, as "shoal bench write" drives Shoal: a closed
// loop of clients, each of which writes one random value after the other, under keys drawn uniformly. It prints the
// same JSON. etcd.sh builds and runs it.
//
//	etcd_client --endpoints A,B,C --wait 30                           until each of them answers a linearizable read
//	etcd_client --endpoints A,B,C --clients 64 --size 4KiB --seconds 10 --keys 10000
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
)

const (
	clientsMax = 10000
	sizeMax    = 1 << 20 // etcd takes requests of at most 1.5 MiB
	secondsMax = 3600
	keysMax    = 100 * 1000 * 1000
	waitMax    = 600
	// What is in flight when the time is up may take so long to come back.
	drainLimit = 20 * time.Second
	dialLimit  = 10 * time.Second
	// So that a cluster that refuses everything is not asked as fast as the processor can.
	errorPause = 10 * time.Millisecond
	// Between two questions whether the cluster is there.
	waitPause = 100 * time.Millisecond
)

type options struct {
	endpoints   []string
	connections int
	toLeader    bool
	clients     int
	size        int
	seconds     int
	keys        int
	wait        int
}

// latencies in milliseconds.
type latencies struct {
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// report has the keys of "shoal bench --json".
type report struct {
	OpsPerSecond float64   `json:"ops_per_second"`
	MibPerSecond float64   `json:"mib_per_second"`
	LatencyMs    latencies `json:"latency_ms"`
	Errors       int       `json:"errors"`
	Seconds      float64   `json:"seconds"`
}

// writer is one client of the closed loop. It shares its connection, as gRPC is meant to be used, and nothing else.
type writer struct {
	kv     *clientv3.Client
	random *rand.Rand
	words  []byte          // whole words, at least a value's size
	took   []time.Duration // of each write that was acknowledged
	errors int
	first  error
}

// parseSize takes bytes, or a number with the suffix KiB or MiB.
func parseSize(text string) (int, error) {
	unit := 1
	for suffix, factor := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if strings.HasSuffix(text, suffix) {
			text, unit = strings.TrimSuffix(text, suffix), factor
			break
		}
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > sizeMax/unit {
		return 0, fmt.Errorf("--size is from 1 to %d bytes", sizeMax)
	}
	return number * unit, nil
}

func inRange(name string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("--%s is from %d to %d", name, least, most)
	}
	return nil
}

func parseOptions() (*options, error) {
	o := &options{}
	endpoints := flag.String("endpoints", "", "where etcd listens to clients, separated by commas")
	size := flag.String("size", "4KiB", "of a value")
	flag.IntVar(&o.connections, "connections", 0, "TCP connections, shared evenly (default: one for each client)")
	flag.BoolVar(&o.toLeader, "leader", false, "connect to the leader only, not to all endpoints in turn")
	flag.IntVar(&o.clients, "clients", 64, "clients, each with one write at a time")
	flag.IntVar(&o.seconds, "seconds", 10, "how long to write")
	flag.IntVar(&o.keys, "keys", 10000, "keys to draw from")
	flag.IntVar(&o.wait, "wait", 0, "wait at most so many seconds until every endpoint serves, and end")
	flag.Parse()
	if *endpoints == "" || flag.NArg() > 0 {
		return nil, errors.New("usage: etcd_client --endpoints A,B,C [OPTION...]")
	}
	o.endpoints = strings.Split(*endpoints, ",")
	if o.connections == 0 {
		o.connections = o.clients
	}
	var err error
	if o.size, err = parseSize(*size); err != nil {
		return nil, err
	}
	for _, limit := range []struct {
		name               string
		value, least, most int
	}{
		{"clients", o.clients, 1, clientsMax},
		{"connections", o.connections, 1, o.clients},
		{"seconds", o.seconds, 1, secondsMax},
		{"keys", o.keys, 1, keysMax},
		{"wait", o.wait, 0, waitMax},
	} {
		if err = inRange(limit.name, limit.value, limit.least, limit.most); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// connect opens one connection to one endpoint, and is done when that endpoint has served a linearizable read.
func connect(endpoint string, limit time.Duration) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: dialLimit})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err = client.Get(ctx, "ready"); err != nil {
		client.Close()
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	return client, nil
}

// waitForAll returns when every endpoint has answered within the time.
func waitForAll(o *options) error {
	end := time.Now().Add(time.Duration(o.wait) * time.Second)
	for _, endpoint := range o.endpoints {
		for {
			client, err := connect(endpoint, time.Second)
			if err == nil {
				client.Close()
				break
			}
			if time.Now().After(end) {
				return err
			}
			time.Sleep(waitPause)
		}
	}
	return nil
}

// leaderOf asks every endpoint whether it leads.
func leaderOf(endpoints []string) (string, error) {
	for _, endpoint := range endpoints {
		client, err := connect(endpoint, dialLimit)
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
		status, err := client.Status(ctx, endpoint)
		cancel()
		client.Close()
		if err != nil {
			return "", err
		}
		if status.Leader == status.Header.MemberId {
			return endpoint, nil
		}
	}
	return "", errors.New("no endpoint leads")
}

func connectAll(o *options) ([]*clientv3.Client, error) {
	targets := o.endpoints
	if o.toLeader {
		leader, err := leaderOf(o.endpoints)
		if err != nil {
			return nil, err
		}
		targets = []string{leader}
	}
	connections := make([]*clientv3.Client, o.connections)
	for i := range connections {
		var err error
		if connections[i], err = connect(targets[i%len(targets)], dialLimit); err != nil {
			return nil, err
		}
	}
	return connections, nil
}

// nextValue is cheaper than rand.Read: what the client burns, etcd beside it on the same processors lacks.
func (w *writer) nextValue(size int) string {
	for i := 0; i < len(w.words); i += 8 {
		binary.LittleEndian.PutUint64(w.words[i:], w.random.Uint64())
	}
	return string(w.words[:size])
}

// run writes until the end, one value after the other.
func (w *writer) run(ctx context.Context, o *options, end time.Time) {
	for {
		key := fmt.Sprintf("bench/%08d", w.random.Intn(o.keys))
		value := w.nextValue(o.size)
		began := time.Now()
		if !began.Before(end) {
			return
		}
		if _, err := w.kv.Put(ctx, key, value); err != nil {
			w.errors++
			if w.first == nil {
				w.first = err
			}
			time.Sleep(errorPause)
			continue
		}
		w.took = append(w.took, time.Since(began))
	}
}

// measure runs all clients at once and returns them with the time they took together.
func measure(o *options, connections []*clientv3.Client) ([]*writer, time.Duration) {
	seed := time.Now().UnixNano()
	writers := make([]*writer, o.clients)
	for i := range writers {
		writers[i] = &writer{
			kv:     connections[i%len(connections)],
			random: rand.New(rand.NewSource(seed + int64(i))),
			words:  make([]byte, (o.size+7)/8*8),
		}
	}
	length := time.Duration(o.seconds) * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), length+drainLimit)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	for _, w := range writers {
		all.Add(1)
		go func(w *writer) {
			defer all.Done()
			w.run(ctx, o, began.Add(length))
		}(w)
	}
	all.Wait()
	return writers, time.Since(began)
}

// quantile of sorted values, by nearest rank, in milliseconds.
func quantile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(share * float64(len(sorted))))
	if rank < 1 {
		rank = 1
	}
	return float64(sorted[rank-1].Microseconds()) / 1000
}

func summarize(o *options, writers []*writer, length time.Duration) *report {
	var took []time.Duration
	r := &report{Seconds: length.Seconds()}
	for _, w := range writers {
		took = append(took, w.took...)
		r.Errors += w.errors
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	r.OpsPerSecond = float64(len(took)) / r.Seconds
	r.MibPerSecond = r.OpsPerSecond * float64(o.size) / (1 << 20)
	r.LatencyMs = latencies{
		P50:  quantile(took, 0.50),
		P95:  quantile(took, 0.95),
		P99:  quantile(took, 0.99),
		P999: quantile(took, 0.999),
		Max:  quantile(took, 1),
	}
	return r
}

func bench(o *options) error {
	connections, err := connectAll(o)
	if err != nil {
		return err
	}
	writers, length := measure(o, connections)
	for _, w := range writers {
		if w.first != nil {
			fmt.Fprintln(os.Stderr, "etcd_client: the first error of a client:", w.first)
			break
		}
	}
	for _, connection := range connections {
		connection.Close()
	}
	return json.NewEncoder(os.Stdout).Encode(summarize(o, writers, length))
}

func main() {
	o, err := parseOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd_client:", err)
		os.Exit(2)
	}
	if o.wait > 0 {
		err = waitForAll(o)
	} else {
		err = bench(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd_client:", err)
		os.Exit(1)
	}
}

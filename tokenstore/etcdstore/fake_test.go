// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcdstore_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// member is as much of an etcd as the store uses, in memory and behind gRPC, so that
// what a real client does with faults is seen. The real server is tried in
// internal/integration/etcd.
type member struct {
	pb.UnimplementedKVServer
	address string
	stop    func()

	mu       sync.Mutex
	keys     keys
	revision int64
	requests []string // what was asked, as "range", "serializable", "txn" or "read txn"
	named    []string // the keys in what was asked, changed or not
	deadline bool     // a request came with a deadline
	patient  bool     // a request came that waits for a leader
	largest  int      // the size of the largest transaction, in bytes
	longest  int      // the number of operations of the longest one
	refuses  string   // the user may not read or write keys that begin so, unless it is ""
	lags     keys     // what serializable reads find, if the member lags
	// before and after are called with what is asked, and may fail a request that
	// was not done, or was.
	before, after func(request string) error
}

// keys are keys with their values.
type keys map[string]*mvccpb.KeyValue

// startMember starts a member on a free port.
func startMember() (*member, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &member{address: listener.Addr().String(), keys: keys{}, revision: 1}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, m)
	go func() { _ = server.Serve(listener) }() // until Stop
	m.stop = server.Stop
	return m, nil
}

// connect returns a client as a host makes it.
func (m *member) connect() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{m.address}, Logger: zap.NewNop()})
}

// faults sets what happens to requests from now on.
func (m *member) faults(before, after func(request string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after, m.requests = before, after, nil
}

// asked returns what was asked since faults.
func (m *member) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

// put changes a key behind the store's back.
func (m *member) put(key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	m.set(key, []byte(value))
}

// lag makes the member lag: it has the keys of now, until it asks the others.
func (m *member) lag() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lags = maps.Clone(m.keys)
}

// all returns the keys with their values.
func (m *member) all() keys {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.keys)
}

// names returns the keys.
func (m *member) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.keys))
}

func (m *member) set(key string, value []byte) {
	m.keys[key] = &mvccpb.KeyValue{Key: []byte(key), Value: value, ModRevision: m.revision}
}

// request does f between the faults.
func (m *member) request(what string, f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, what)
	if m.before != nil {
		if err := m.before(what); err != nil {
			return err
		}
	}
	if err := f(); err != nil {
		return err
	}
	if m.after != nil {
		return m.after(what)
	}
	return nil
}

// sentWith notes what came with a request.
func (m *member) sentWith(ctx context.Context) {
	_, deadline := ctx.Deadline()
	m.deadline = m.deadline || deadline
	m.patient = m.patient || !slices.Equal(metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataRequireLeaderKey), []string{rpctypes.MetadataHasLeader})
}

// Range implements pb.KVServer.
func (m *member) Range(ctx context.Context, r *pb.RangeRequest) (response *pb.RangeResponse, err error) {
	what := "range"
	if r.Serializable {
		what = "serializable"
	}
	err = m.request(what, func() error {
		m.sentWith(ctx)
		response = m.get(r)
		return m.allow(string(r.Key), string(r.RangeEnd))
	})
	return response, err
}

func (m *member) get(r *pb.RangeRequest) *pb.RangeResponse {
	response := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: m.revision}}
	held := m.keys
	if r.Serializable && m.lags != nil {
		held = m.lags
	}
	names := []string{string(r.Key)}
	if len(r.RangeEnd) > 0 {
		names = slices.Sorted(maps.Keys(held))
	}
	for _, key := range names {
		if held[key] == nil || key < string(r.Key) || len(r.RangeEnd) > 0 && key >= string(r.RangeEnd) {
			continue
		}
		response.Count++
		if r.CountOnly || r.Limit > 0 && int64(len(response.Kvs)) >= r.Limit {
			continue
		}
		kv := *held[key]
		if r.KeysOnly {
			kv.Value = nil
		}
		response.Kvs = append(response.Kvs, &kv)
	}
	return response
}

// Txn implements pb.KVServer.
func (m *member) Txn(ctx context.Context, r *pb.TxnRequest) (response *pb.TxnResponse, err error) {
	what := "read txn"
	for _, op := range slices.Concat(r.Success, r.Failure) {
		if op.GetRequestRange() == nil {
			what = "txn"
		}
	}
	err = m.request(what, func() error {
		m.sentWith(ctx)
		response = &pb.TxnResponse{Succeeded: true}
		m.largest, m.longest = max(m.largest, r.Size()), max(m.longest, len(r.Success))
		if err := m.allow(namedBy(r)...); err != nil {
			return err
		}
		for _, c := range r.Compare {
			response.Succeeded = response.Succeeded && m.holds(c)
		}
		ops := r.Success
		if !response.Succeeded {
			ops = r.Failure
		}
		for _, op := range ops {
			if op.GetRequestRange() == nil {
				m.revision++ // once for all of them
				break
			}
		}
		touched := map[string]bool{}
		for _, op := range ops {
			if err := m.apply(op, response, touched); err != nil {
				return err
			}
		}
		response.Header = &pb.ResponseHeader{Revision: m.revision}
		return nil
	})
	return response, err
}

// allow notes the keys that a request names, and fails if the user may not.
func (m *member) allow(keys ...string) error {
	m.named = append(m.named, keys...)
	for _, key := range keys {
		if m.refuses != "" && strings.HasPrefix(key, m.refuses) {
			return rpctypes.ErrGRPCPermissionDenied
		}
	}
	return nil
}

// namedBy returns the keys in a transaction, which etcd asks of the user's role whether
// they are changed or not.
func namedBy(r *pb.TxnRequest) (keys []string) {
	for _, c := range r.Compare {
		keys = append(keys, string(c.Key))
	}
	for _, op := range slices.Concat(r.Success, r.Failure) {
		keys = append(keys, string(op.GetRequestRange().GetKey())+string(op.GetRequestPut().GetKey())+string(op.GetRequestDeleteRange().GetKey()))
	}
	return keys
}

// holds reports whether a comparison of revisions does.
func (m *member) holds(c *pb.Compare) bool {
	var revision int64
	if kv := m.keys[string(c.Key)]; kv != nil {
		revision = kv.ModRevision
	}
	to := c.TargetUnion.(*pb.Compare_ModRevision).ModRevision
	return c.Result == pb.Compare_EQUAL && revision == to || c.Result == pb.Compare_LESS && revision < to
}

func (m *member) apply(op *pb.RequestOp, response *pb.TxnResponse, touched map[string]bool) error {
	key := ""
	switch {
	case op.GetRequestRange() != nil:
		response.Responses = append(response.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: m.get(op.GetRequestRange())}})
		return nil
	case op.GetRequestPut() != nil:
		key = string(op.GetRequestPut().Key)
		m.set(key, op.GetRequestPut().Value)
		response.Responses = append(response.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}})
	default:
		key = string(op.GetRequestDeleteRange().Key)
		delete(m.keys, key)
		response.Responses = append(response.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{}}})
	}
	if touched[key] {
		return fmt.Errorf("etcd refuses a transaction that changes %s twice", strings.ToValidUTF8(key, "?"))
	}
	touched[key] = true
	return nil
}

// Command peer is a small gRPC server on grpc-go for tests of clients that are not written in Go.
//
// It needs no generated code: every message is one of the well-known types. It prints `listening PORT` first, then
// `METHOD ARGUMENT` for each call as its handler begins, and `left METHOD` as a call's context ends before its time.
// On its standard input it takes `drain` (GracefulStop) and `stop` (Stop), and prints `stopped` when that is done. It
// ends with its standard input, and after a minute in any case.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	age := flag.Duration("age", 0, "how old a connection gets before it is told to go away; 0 for as old as it likes")
	grace := flag.Duration("grace", 0, "how long its calls may take after that; 0 for as long as they like")
	minPing := flag.Duration("min-ping", 5*time.Second, "pings that come sooner after each other are too many")
	maxBytes := flag.Int("max-bytes", 4<<20, "the largest message that is taken")
	maxStreams := flag.Uint("max-streams", 0, "how many calls a connection may carry at a time; 0 for any number")
	flag.Parse()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(*maxBytes),
		grpc.MaxConcurrentStreams(uint32(*maxStreams)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: *age, MaxConnectionAgeGrace: *grace}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: *minPing, PermitWithoutStream: true}),
	)
	server.RegisterService(&peerService, nil)
	server.RegisterService(&counterService, nil)
	time.AfterFunc(time.Minute, func() { os.Exit(3) })
	go obey(server)
	say("listening", listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
	select {} // The process ends with its standard input, so that what it said last can be read.
}

func obey(server *grpc.Server) {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "drain":
			go func() {
				server.GracefulStop()
				say("stopped", "")
			}()
		case "stop":
			server.Stop()
			say("stopped", "")
		}
	}
	os.Exit(0)
}

var printing sync.Mutex

func say(what string, argument any) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(what, argument)
}

var peerService = grpc.ServiceDesc{
	ServiceName: "coppice.test.peer.Peer",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: unary(echo)}, {MethodName: "Fail", Handler: unary(fail)}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Tell", Handler: tell, ServerStreams: true},
		{StreamName: "FailLate", Handler: failLate, ServerStreams: true},
		{StreamName: "Add", Handler: add, ClientStreams: true},
		{StreamName: "Chat", Handler: chat, ServerStreams: true, ClientStreams: true},
	},
}

var counterService = grpc.ServiceDesc{
	ServiceName: "coppice.test.counter.Counter",
	HandlerType: (*any)(nil),
	Streams:     []grpc.StreamDesc{{StreamName: "Count", Handler: count, ServerStreams: true}},
}

type words = wrapperspb.StringValue

type unaryHandler = func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error)

// unary is what generated code would be: no interceptor is ever registered here.
func unary(answer func(context.Context, *words) (*words, error)) unaryHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		request := new(words)
		if err := decode(request); err != nil {
			return nil, err
		}
		return answer(ctx, request)
	}
}

// wish reads a number that the caller sent as metadata; 0 where there is none.
func wish(ctx context.Context, name string) int {
	if values := metadata.ValueFromIncomingContext(ctx, name); len(values) > 0 {
		number, _ := strconv.Atoi(values[0])
		return number
	}
	return 0
}

// echo says what it was told, in a header too if it is short, after `wait-ms`, compressed if `gzip` is 1 and the caller
// takes it. It prints `limited MS` for a call that has a deadline.
func echo(ctx context.Context, request *words) (*words, error) {
	say("Echo", request.Value)
	if deadline, limited := ctx.Deadline(); limited {
		say("limited", time.Until(deadline).Milliseconds())
	}
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("authorized", values[0]))
	}
	if len(request.Value) < 1000 {
		_ = grpc.SetHeader(ctx, metadata.Pairs("echo-bin", request.Value))
	}
	if wish(ctx, "gzip") == 1 {
		if err := grpc.SetSendCompressor(ctx, "gzip"); err != nil {
			return nil, status.Error(codes.FailedPrecondition, err.Error())
		}
	}
	select {
	case <-time.After(time.Duration(wish(ctx, "wait-ms")) * time.Millisecond):
		return request, nil
	case <-ctx.Done():
		say("left", fmt.Sprint("Echo ", ctx.Err()))
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// failure has the caller's words as its message and as its first detail, and the `code` that was asked for.
func failure(ctx context.Context, request *words) error {
	told, _ := anypb.New(request)
	delay, _ := anypb.New(durationpb.New(1500 * time.Millisecond))
	failed := status.New(codes.Code(wish(ctx, "code")), request.Value).Proto()
	failed.Details = []*anypb.Any{told, delay}
	return status.ErrorProto(failed)
}

func fail(ctx context.Context, request *words) (*words, error) {
	say("Fail", wish(ctx, "code"))
	return nil, failure(ctx, request)
}

func failLate(_ any, stream grpc.ServerStream) error {
	request := new(words)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	say("FailLate", wish(stream.Context(), "code"))
	if err := stream.SendMsg(wrapperspb.String("first")); err != nil {
		return err
	}
	return failure(stream.Context(), request)
}

// tell sends as many messages as it is asked for, of `size` bytes each; with `linger` 1 it stays until the call is over.
func tell(_ any, stream grpc.ServerStream) error {
	ctx, request := stream.Context(), new(wrapperspb.UInt32Value)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	say("Tell", request.Value)
	if wish(ctx, "gzip") == 1 {
		if err := grpc.SetSendCompressor(ctx, "gzip"); err != nil {
			return status.Error(codes.FailedPrecondition, err.Error())
		}
	}
	message := wrapperspb.Bytes(make([]byte, wish(ctx, "size")))
	for number := uint32(0); number < request.Value; number++ {
		for place := range message.Value {
			message.Value[place] = byte(number)
		}
		if err := stream.SendMsg(message); err != nil {
			say("left", "Tell "+status.Code(err).String())
			return err
		}
	}
	if wish(ctx, "linger") == 1 {
		<-ctx.Done()
		say("left", fmt.Sprint("Tell ", ctx.Err()))
		return status.FromContextError(ctx.Err()).Err()
	}
	return nil
}

func add(_ any, stream grpc.ServerStream) error {
	say("Add", "")
	sum := new(wrapperspb.UInt32Value)
	for {
		number := new(wrapperspb.UInt32Value)
		switch err := stream.RecvMsg(number); err {
		case nil:
			sum.Value += number.Value
		case io.EOF:
			return stream.SendMsg(sum)
		default:
			return err
		}
	}
}

func chat(_ any, stream grpc.ServerStream) error {
	say("Chat", "")
	for {
		said := new(words)
		switch err := stream.RecvMsg(said); err {
		case nil:
			if err := stream.SendMsg(said); err != nil {
				return err
			}
		case io.EOF:
			return nil
		default:
			say("left", "Chat "+status.Code(err).String())
			return err
		}
	}
}

// count tells the numbers behind the one it is given, whose messages a wrapped number resembles byte for byte. After
// some it ends, in another way each time.
func count(_ any, stream grpc.ServerStream) error {
	offset := new(wrapperspb.UInt32Value)
	if err := stream.RecvMsg(offset); err != nil {
		return err
	}
	say("Count", offset.Value)
	endings := []error{
		nil,
		status.Error(codes.Unavailable, "come again"),
		status.Error(codes.Internal, "a bug of the server's"),
		status.Error(codes.ResourceExhausted, "too much"),
		context.DeadlineExceeded, // Not a status yet: grpc-go makes one of it.
	}
	ending := endings[int(offset.Value)%len(endings)]
	for left := 7 + offset.Value%11; left > 0; left-- {
		time.Sleep(time.Millisecond)
		offset.Value++
		if err := stream.SendMsg(proto.Clone(offset)); err != nil {
			return err
		}
	}
	return ending
}

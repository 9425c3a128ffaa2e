import type { DescMessage } from "@bufbuild/protobuf";
import { create, createFileRegistry } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  BytesValueSchema,
  file_google_protobuf_wrappers,
  FileDescriptorProtoSchema,
  StringValueSchema,
  UInt32ValueSchema,
} from "@bufbuild/protobuf/wkt";

type Kind = "unary" | "server_streaming" | "client_streaming" | "bidi_streaming";

interface Method<K extends Kind, I extends DescMessage, O extends DescMessage> {
  readonly methodKind: K;
  readonly input: I;
  readonly output: O;
}

function method<K extends Kind, I extends DescMessage, O extends DescMessage>(
  methodKind: K,
  input: I,
  output: O,
): Method<K, I, O> {
  return { methodKind, input, output };
}

/** What go/main.go serves; what a call shall do beside its message goes with it as metadata, see there. */
const methods = {
  /** The same words back: after `wait-ms`, and compressed where `gzip` is 1. */
  echo: method("unary", StringValueSchema, StringValueSchema),
  /** Fails with `code`: the words are its message and its first detail, a wait of 1.5 s is its second. */
  fail: method("unary", StringValueSchema, StringValueSchema),
  /** The same behind a first message. */
  failLate: method("server_streaming", StringValueSchema, StringValueSchema),
  /** So many messages of `size` bytes, each filled with its number; it stays open where `linger` is 1. */
  tell: method("server_streaming", UInt32ValueSchema, BytesValueSchema),
  /** The sum of what was sent. */
  add: method("client_streaming", UInt32ValueSchema, UInt32ValueSchema),
  /** Each of the words back as it comes. */
  chat: method("bidi_streaming", StringValueSchema, StringValueSchema),
  /** A method that no server has. */
  nowhere: method("unary", StringValueSchema, StringValueSchema),
} as const;

const registry = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "peer.proto",
    package: "coppice.test.peer",
    syntax: "proto3",
    dependency: [file_google_protobuf_wrappers.proto.name],
    service: [{
      name: "Peer",
      method: Object.entries(methods).map(([name, { methodKind, input, output }]) => ({
        name: `${name[0]?.toUpperCase()}${name.slice(1)}`,
        inputType: `.${input.typeName}`,
        outputType: `.${output.typeName}`,
        clientStreaming: methodKind === "client_streaming" || methodKind === "bidi_streaming",
        serverStreaming: methodKind === "server_streaming" || methodKind === "bidi_streaming",
      })),
    }],
  }),
  () => file_google_protobuf_wrappers,
);

/** A service of well-known types alone, so that neither side needs generated code. */
// The registry knows no types; they are those of the table that it was made from.
export const Peer = registry.getService("coppice.test.peer.Peer") as unknown as GenService<typeof methods>;

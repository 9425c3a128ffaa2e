import { create, toBinary } from "@bufbuild/protobuf";
import { WorkflowEventSchema, WorkflowRunEventSchema } from "../../src/proto.ts";

/** As much is written at once. */
const chunkBytes = 256 * 1024;

/** As many messages as fit into a chunk, each of so many bytes and in its frame. */
export interface Chunk {
  readonly bytes: Uint8Array;
  readonly messages: number;
  /** Of one message with its frame, in bytes. */
  readonly frame: number;
}

/** Makes a chunk of events of a run that are exactly so long. */
export function chunkOf(messageBytes: number): Chunk {
  const frame = framed(eventOf(messageBytes));
  const messages = Math.max(1, Math.floor(chunkBytes / frame.length));
  const bytes = new Uint8Array(messages * frame.length);
  for (let at = 0; at < bytes.length; at += frame.length) bytes.set(frame, at);
  return { bytes, messages, frame: frame.length };
}

/** The event that tells the result of a run, in its frame. */
export function resultOf(workflowRunId: string): Uint8Array {
  const results = [{ taskName: "task", output: "{}" }];
  return framed(toBinary(WorkflowRunEventSchema, create(WorkflowRunEventSchema, { workflowRunId, results })));
}

/** A length-prefixed message, as gRPC has it. */
export function framed(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  return frame;
}

/** The payload gives way until the length is right: its own length takes more or fewer bytes. */
function eventOf(messageBytes: number): Uint8Array {
  for (let payload = messageBytes; payload > 0; payload--) {
    const message = toBinary(WorkflowEventSchema, create(WorkflowEventSchema, { eventPayload: "x".repeat(payload) }));
    if (message.length === messageBytes) return message;
  }
  throw new RangeError(`messageBytes must be reachable with one text, got ${messageBytes}`);
}

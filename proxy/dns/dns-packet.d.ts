// Types of the parts of dns-packet that are used here.
declare module 'dns-packet' {
  export interface Question {
    name: string;
    type: string;
    class?: string;
  }

  export interface Answer {
    name: string;
    type: string;
    ttl?: number;
    class?: string;
    data: unknown;
  }

  export interface Packet {
    id?: number;
    type?: 'query' | 'response';
    flags?: number;
    rcode?: string;
    questions?: Question[];
    answers?: Answer[];
    authorities?: Answer[];
    additionals?: (Answer & { udpPayloadSize?: number })[];
  }

  export const AUTHORITATIVE_ANSWER: number;
  export const RECURSION_DESIRED: number;
  export const RECURSION_AVAILABLE: number;
  export const TRUNCATED_RESPONSE: number;
  /** How the data of a type is written: its length before it. `bytes` is what the last call wrote. */
  export function record(type: string): {
    encode: { (data: unknown, into: Buffer, offset: number): Buffer; bytes: number };
  };
  export function encode(packet: Packet): Buffer;
  export function decode(bytes: Buffer): Packet;
}

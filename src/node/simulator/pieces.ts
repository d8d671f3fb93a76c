/** An answer as the parts in which it is generated. What is sent, and what an abort costs, is counted in them. */
import type { Answer, Reply } from './script.ts';

/** One part of an answer that has its own place on the wire; images are base64, tool calls have JSON arguments. */
export type Block =
  | { readonly kind: 'reasoning'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'image'; readonly text: string }
  | {
      readonly kind: 'tool';
      /** Its place among the tool calls. */
      readonly index: number;
      readonly id: string;
      readonly name: string;
      /** The arguments. */
      readonly text: string;
    };

/** What comes in one chunk: a slice of a block. The first of a tool call is its name alone. */
export interface Piece {
  readonly block: Block;
  readonly text: string;
  readonly first: boolean;
}

const DEFAULT_CHUNK_LENGTH = 24;
const MOST_DEFAULT_CHUNKS = 32;

function slices(text: string, parts: number): string[] {
  return Array.from({ length: parts }, (_, part) =>
    text.slice(Math.floor((part * text.length) / parts), Math.floor(((part + 1) * text.length) / parts)),
  );
}

function cut(block: Block, texts: readonly string[]): Piece[] {
  return texts.map((text, index) => ({ block, text, first: index === 0 }));
}

function toolPieces(answer: Answer): Piece[] {
  return answer.toolCalls.flatMap(({ id, name, arguments: json }, index) =>
    cut({ kind: 'tool', text: json, index, id, name }, ['', ...slices(json, json.length > 1 ? 2 : 1)]),
  );
}

/** The content of an answer in chunks. Text and reasoning come in `reply.chunks` of them, at least one each. */
export function piecesOf(answer: Answer, reply: Reply): Piece[] {
  const { images, reasoning, text, toolCalls } = answer;
  const spoken = reasoning.length + text.length;
  const usual = Math.min(MOST_DEFAULT_CHUNKS, Math.ceil(spoken / DEFAULT_CHUNK_LENGTH));
  // An answer of tool calls or images alone has no text chunk, any other has one, even if it is empty.
  const silent = spoken === 0 && (toolCalls.length > 0 || images.length > 0);
  const parts = Math.max(reply.chunks ?? usual, silent ? 0 : 1);
  const proportional = spoken === 0 ? 0 : Math.round((parts * reasoning.length) / spoken);
  let thinking = 0;
  if (reasoning !== '') thinking = text === '' ? parts : Math.max(1, Math.min(parts - 1, proportional));
  const speaking = Math.max(parts - thinking, text === '' ? 0 : 1);
  return [
    ...cut({ kind: 'reasoning', text: reasoning }, slices(reasoning, thinking)),
    ...cut({ kind: 'text', text }, slices(text, speaking)),
    ...images.flatMap((image) => cut({ kind: 'image', text: image }, [image])),
    ...toolPieces(answer),
  ];
}

/** The blocks of an answer in their order. */
export function blocksOf(pieces: readonly Piece[]): Block[] {
  return [...new Set(pieces.map(({ block }) => block))];
}

/** How a wire says that a block begins, goes on and is whole. */
export interface BlockEvents {
  open(block: Block, index: number): string;
  part(block: Block, index: number, text: string): string;
  close(block: Block, index: number): string;
}

/** For wires that announce each block: turns pieces into events, and says which block is open. */
export function blockwise(events: BlockEvents): { piece(piece: Piece): string; end(): string } {
  let open: Block | undefined;
  let index = -1;
  const end = (): string => {
    const closing = open === undefined ? '' : events.close(open, index);
    open = undefined;
    return closing;
  };
  return {
    piece({ block, text }) {
      let out = '';
      if (block !== open) {
        out += end();
        open = block;
        index += 1;
        out += events.open(block, index);
      }
      return text === '' ? out : out + events.part(block, index, text);
    },
    end,
  };
}

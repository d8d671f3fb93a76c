'use client';
import { useChat } from '@ai-sdk/react';
import { useState } from 'react';

interface Refusal {
  message: string;
  cap?: { reason?: string };
  retryAfterMs?: number;
}

function waitText(waitMs: number): string {
  const minutes = Math.ceil(waitMs / 60_000);
  return minutes < 90 ? `${minutes} min` : `${Math.ceil(minutes / 60)} h`;
}

/** A refusal comes as JSON: as the body of a 402, or in mid-stream as the text of `spendErrorText`. */
function refusalText({ message }: Error): string {
  try {
    const { message: text, cap, retryAfterMs } = JSON.parse(message) as Refusal;
    const why = cap?.reason === undefined ? '' : ` (${cap.reason})`;
    const wait = retryAfterMs === undefined ? '' : ` Try again in ${waitText(retryAfterMs)}.`;
    return `${text}${why}${wait}`;
  } catch {
    return message;
  }
}

export default function Page() {
  const { messages, sendMessage, error, status } = useChat();
  const [input, setInput] = useState('');
  const isBusy = status === 'submitted' || status === 'streaming';
  return (
    <main>
      <h1>Chat</h1>
      {messages.length === 0 && <p>Ask where order 1001 is.</p>}
      {messages.map((message) => (
        <div key={message.id} className={`message ${message.role}`}>
          {message.parts.map((part, index) => {
            if (part.type === 'text') return <span key={index}>{part.text}</span>;
            return part.type.startsWith('tool-') ? <em key={index}>looking something up… </em> : null;
          })}
        </div>
      ))}
      {error !== undefined && (
        <p role="alert" className="stopped">
          {refusalText(error)}
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (input.trim() === '') return;
          void sendMessage({ text: input });
          setInput('');
        }}
      >
        <input
          value={input}
          onChange={({ target }) => setInput(target.value)}
          placeholder="Your question"
          aria-label="Your question"
        />
        <button type="submit" disabled={isBusy}>
          Send
        </button>
      </form>
    </main>
  );
}

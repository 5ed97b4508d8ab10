import { DRAFT, TOKEN, UNTITLED, expect } from "./draft";
import { meetingsCreate } from "./generated/orval";

const as = (token: string): RequestInit => ({ headers: { Authorization: `Bearer ${token}` } });

async function main(): Promise<void> {
  const made = await meetingsCreate(DRAFT, as(TOKEN));
  expect("title", made.status === 201 && made.data.title, DRAFT.title);
  expect("status", made.status === 201 && made.data.status, "scheduled");

  const refused = await meetingsCreate(UNTITLED, as(TOKEN));
  expect("type", refused.status === 422 && refused.data.type, "urn:seer:problem:invalid");
  expect("field", refused.status === 422 && refused.data.errors?.[0]?.field, "title");

  const stranger = await meetingsCreate(DRAFT, as("none"));
  expect("message", stranger.status === 401 && stranger.data.message, "Unauthorized");
}

void main();

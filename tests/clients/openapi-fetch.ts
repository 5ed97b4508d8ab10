import createClient from "openapi-fetch";

import { DRAFT, TOKEN, UNTITLED, URL, expect } from "./draft";
import type { paths } from "./generated/openapi-typescript";

const client = createClient<paths>({ baseUrl: URL, headers: { Authorization: `Bearer ${TOKEN}` } });

async function main(): Promise<void> {
  const made = await client.POST("/api/meetings", { body: DRAFT });
  expect("title", made.data?.title, DRAFT.title);
  expect("status", made.data?.status, "scheduled");

  const refused = await client.POST("/api/meetings", { body: UNTITLED });
  expect("type", refused.error?.type, "urn:seer:problem:invalid");
  expect("field", refused.error?.errors?.[0]?.field, "title");

  const stranger = await client.POST("/api/meetings", { body: DRAFT, headers: { Authorization: "Bearer none" } });
  expect("status", stranger.response.status, 401);
  expect("type", stranger.error?.type, undefined);
}

void main();

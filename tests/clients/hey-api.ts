import { DRAFT, TOKEN, UNTITLED, URL, expect } from "./draft";
import { meetingsCreate } from "./generated/hey-api";
import { client } from "./generated/hey-api/client.gen";

client.setConfig({ baseUrl: URL, auth: () => TOKEN });

async function main(): Promise<void> {
  const made = await meetingsCreate({ body: DRAFT });
  expect("title", made.data?.title, DRAFT.title);
  expect("status", made.data?.status, "scheduled");

  const refused = await meetingsCreate({ body: UNTITLED });
  expect("type", refused.error?.type, "urn:seer:problem:invalid");
  expect("field", refused.error?.errors?.[0]?.field, "title");

  const stranger = await meetingsCreate({ body: DRAFT, auth: () => "none" });
  expect("status", stranger.response?.status, 401);
  expect("type", stranger.error?.type, undefined);
}

void main();

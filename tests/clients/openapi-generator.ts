import { DRAFT, TOKEN, UNTITLED, URL, expect } from "./draft";
import { Configuration, FailureFromJSON, MeetingsApi, ProblemFromJSON, ResponseError } from "./generated/openapi-generator";

const as = (accessToken: string): MeetingsApi => new MeetingsApi(new Configuration({ basePath: URL, accessToken }));
const meeting = { ...DRAFT, date: new Date(DRAFT.date) };

async function refusal(api: MeetingsApi, title: string): Promise<Response> {
  const error: unknown = await api.meetingsCreate({ meetingDraft: { ...meeting, title } }).catch((error: unknown) => error);
  if (error instanceof ResponseError) {
    return error.response;
  }
  throw new Error(`not refused: ${String(error)}`);
}

async function main(): Promise<void> {
  const made = await as(TOKEN).meetingsCreate({ meetingDraft: meeting });
  expect("title", made.title, DRAFT.title);
  expect("status", made.status, "scheduled");

  const problem = ProblemFromJSON(await (await refusal(as(TOKEN), UNTITLED.title)).json());
  expect("type", problem.type, "urn:seer:problem:invalid");
  expect("field", problem.errors?.[0]?.field, "title");

  const failure = FailureFromJSON(await (await refusal(as("none"), DRAFT.title)).json());
  expect("message", failure.message, "Unauthorized");
}

void main();

// Stands in for the identity provider's library. The person and their token are in the browser's localStorage, where
// tests/frontend.py puts them.

import { createElement, Fragment } from "react";

const person = JSON.parse(localStorage.getItem("person") ?? "null");

const user = person && {
  id: person.sub,
  fullName: person.name,
  firstName: person.name,
  lastName: "",
  primaryEmailAddress: { emailAddress: person.email },
};

const session = { getToken: async () => person.token };

window.Clerk = { session: person ? session : null, user };

const signedIn = Boolean(person);
const auth = { isLoaded: true, isSignedIn: signedIn, userId: person?.sub ?? null, ...session };

export const useAuth = () => auth;
export const useUser = () => ({ isLoaded: true, isSignedIn: signedIn, user });
export const ClerkProvider = ({ children }) => createElement(Fragment, null, children);
export const SignedIn = ({ children }) => (signedIn ? createElement(Fragment, null, children) : null);
export const SignedOut = ({ children }) => (signedIn ? null : createElement(Fragment, null, children));
export const UserButton = () => createElement("span", null, person?.name);
export const SignIn = () => createElement("p", null, "Sign in");
export const SignUp = () => createElement("p", null, "Sign up");

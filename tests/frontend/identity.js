// Stands in for the identity provider's library. The person and their token are in the browser's localStorage, where
// browser.py puts them, and `signedIn` beside them once the person has signed in.

import { createElement, Fragment } from "react";

const known = JSON.parse(localStorage.getItem("person") ?? "null");
const person = localStorage.getItem("signedIn") ? known : null;

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

const entrance = (label) => ({ redirectUrl }) => {
  const enter = () => {
    localStorage.setItem("signedIn", "yes");
    location.assign(redirectUrl);
  };
  return createElement("button", { onClick: enter }, label);
};

export const useAuth = () => auth;
export const useUser = () => ({ isLoaded: true, isSignedIn: signedIn, user });
export const ClerkProvider = ({ children }) => createElement(Fragment, null, children);
export const SignedIn = ({ children }) => (signedIn ? createElement(Fragment, null, children) : null);
export const SignedOut = ({ children }) => (signedIn ? null : createElement(Fragment, null, children));
export const UserButton = () => createElement("span", null, person?.name);
export const SignIn = entrance("Sign in");
export const SignUp = entrance("Sign up");

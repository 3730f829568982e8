# There is no one to answer.
# expect: error
# require: EOF
input("number? ")
